"""Reinforcement learning without a GPU: verl on processors, with rollouts by transformers where vLLM has no device."""
