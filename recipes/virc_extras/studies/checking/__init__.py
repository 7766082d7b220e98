"""Scores files of results again, and makes tables of them."""
