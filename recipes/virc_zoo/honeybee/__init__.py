"""HoneyBee: its decoding with one caption, and beside it all else that the system is."""
