"""Questions over a graph that the LM answers in words."""
