"""Questions over the graph, answered in writing and scored."""
