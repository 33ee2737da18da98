"""Screening: crystals of any origin become one table, stage by stage."""
