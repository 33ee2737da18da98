"""Which crystals are the same, which are near, and which kinds are covered."""
