"""A chat protocol from sample replies: taken apart, understood, verified and written as a system's YAML."""
