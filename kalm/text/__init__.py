"""The only place where ids become text, and text becomes tokens."""
