"""Weights of single tokens in RL, for the setting `token_weights`."""
