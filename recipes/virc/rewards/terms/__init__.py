"""Terms of rewards, one file each: NAME and `score(sample, means)`."""
