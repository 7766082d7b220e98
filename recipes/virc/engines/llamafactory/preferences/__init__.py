"""LLaMA-Factory: training on preferences."""
