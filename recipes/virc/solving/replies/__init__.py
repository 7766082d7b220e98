"""Replies that are no answers: cut or repeated ones, and what servers leave in the text."""
