"""Reading CIFs: syntax, symmetry, sites and formula, each for itself."""
