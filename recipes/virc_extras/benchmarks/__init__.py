"""Published benchmarks of the hub, in tables by kind; to add one, add an entry, and its entry point."""
