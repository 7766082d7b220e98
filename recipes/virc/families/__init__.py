"""Families of stock models, one YAML each: how they write boxes, calls and thoughts."""
