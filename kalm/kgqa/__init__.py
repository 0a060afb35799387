"""Questions over a graph that the LM answers in words, and how the answers are scored."""
