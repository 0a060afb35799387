"""Rationales from the graph for questions and their answers: the data that KALE tunes with."""
