"""The chat protocol of a dataset, found in its conversations."""
