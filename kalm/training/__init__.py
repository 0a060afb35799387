"""Batches, the training loop, checkpoints, and what a run reports."""
