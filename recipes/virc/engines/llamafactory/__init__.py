"""LLaMA-Factory: supervised fine-tuning."""
