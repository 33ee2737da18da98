"""Bayesian flows: schedules, the continuous and the categorical flow, and the samplers' steps."""
