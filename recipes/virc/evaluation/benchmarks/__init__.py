"""How benchmarks are found and read, and the one that this project draws; others are of extras."""
