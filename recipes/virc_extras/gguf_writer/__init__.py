"""A model as the two GGUF files that llama.cpp reads: `virc merge --gguf`."""
