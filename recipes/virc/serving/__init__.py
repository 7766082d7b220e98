"""OpenAI-compatible endpoints for a model: by vLLM, by transformers, or an agent that runs the tool loop."""
