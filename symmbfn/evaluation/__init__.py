"""How good generated crystals are: by themselves, as a distribution, and how sure that is."""
