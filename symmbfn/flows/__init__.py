"""Bayesian flows: schedules, continuous, categorical and circular flows, samplers' steps."""
