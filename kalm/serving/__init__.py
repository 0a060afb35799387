"""Asking a trained run: questions in people's words, answers with names."""
