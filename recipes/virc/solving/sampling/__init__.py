"""Several samples of one problem: how they are asked for, and their grades."""
