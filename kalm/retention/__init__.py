"""Has it forgotten: what a tuned model still knows of text and of questions, beside its base."""
