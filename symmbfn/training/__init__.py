"""Training: the loop, its configuration, its data and its checkpoints."""
