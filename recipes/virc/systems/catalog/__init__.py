"""The published systems, and how far each is supported."""
