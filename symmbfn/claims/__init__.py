"""Measured figures with their origin, published ones beside them, and the chapters."""
