"""Generation: the sampler, the way from estimates to crystals, and runs in folders."""
