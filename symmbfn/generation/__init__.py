"""From a request to crystals: sampler, constraints, final estimates, and runs in folders."""
