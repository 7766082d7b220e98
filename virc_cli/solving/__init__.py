"""What `virc solve` does behind its options: one problem, many of them, and what is told on the way."""
