"""verl: reinforcement learning."""
