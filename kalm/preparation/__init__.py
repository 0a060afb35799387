"""Before training: looking at a graph, and writing it in a form that reads fast."""
