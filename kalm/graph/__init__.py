"""A knowledge graph as integer arrays, and where it is read from. Uses nothing else of kalm."""
