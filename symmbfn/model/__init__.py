"""The model: its configuration, the beliefs of its variables, and the network around them."""
