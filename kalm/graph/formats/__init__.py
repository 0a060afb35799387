"""The formats of graphs: each a module, and a line in `registry.py`."""
