"""The stages that a screening has, each a question asked of its crystals."""
