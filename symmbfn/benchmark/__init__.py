"""Where the time goes: timings, and a model of the cost that they are held against."""
