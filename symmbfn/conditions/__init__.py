"""What a model is conditioned on: the conditions of a training step, and of a request."""
