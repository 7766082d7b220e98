"""How each engine's checkpoints look on disk: whether one is whole, and what in it only resuming needs."""
