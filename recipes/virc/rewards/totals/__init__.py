"""Whole rewards, one file each: TERMS and `total(scores, sample)`."""
