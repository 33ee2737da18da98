"""Files, journals, run folders, worker processes and devices: nothing here knows crystals."""
