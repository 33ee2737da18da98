"""Datasets: where crystals come from, their encoded tensors on disk, batches of like size."""
