"""GGUF, llama.cpp's format of models: read, and written from a model's folder."""
