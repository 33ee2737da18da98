"""Figures: drawings of crystals and plots."""
