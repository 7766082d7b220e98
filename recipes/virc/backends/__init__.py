"""What produces the next turn: an endpoint, a model in this process, or a recording."""
