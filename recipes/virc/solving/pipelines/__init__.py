"""Pipelines: systems of several roles and steps that need no training."""
