"""kalm aligns autoregressive language models with knowledge graphs."""

__version__ = "0.1.0"
