"""Crystallography: symmetry tables, lattices, asymmetric units and back; no network."""
