"""Energies: potentials, relaxation, element references, the convex hull."""
