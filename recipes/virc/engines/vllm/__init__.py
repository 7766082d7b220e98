"""vLLM: serving."""
