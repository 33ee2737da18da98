"""Networks: the dense CSPNet, its PyTorch Geometric twin, and what they are fed."""
