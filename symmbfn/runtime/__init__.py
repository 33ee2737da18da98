"""What every part stands on: files, journals, run folders, workers and devices."""
