"""Measurements of speed and memory, each against another way to the same result in the same run."""
