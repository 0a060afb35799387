"""The losses: pure functions of tensors, and the module that joins them."""
