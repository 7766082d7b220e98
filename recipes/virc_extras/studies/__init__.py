"""Studies of models: whether they look, what was published or trained on, rewards of others, results to verify."""
