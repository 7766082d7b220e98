"""Datasets: formats, checks, conversion, drawn problems and sampling."""
