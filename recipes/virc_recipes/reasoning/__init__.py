"""The protocol core: engine-free and without I/O, shared by inference, reward and data."""
