"""Special tokens, thoughts and calls: the marks of all model families, and texts without them."""
