"""Questions in natural language over a graph."""
