"""The language model: loading, adapters, and its read-out at sites and labels."""
