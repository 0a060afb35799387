"""Knowledge-graph completion: ranks, metrics and reports."""
