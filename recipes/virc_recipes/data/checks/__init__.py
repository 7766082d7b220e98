"""What is looked at in rows, a file per concern; each fault has a kind, by which it is counted."""
