"""HTML pages: the gallery of a run and the report of a screening."""
