"""What stored pixels mean: their depth, colours and shape."""
