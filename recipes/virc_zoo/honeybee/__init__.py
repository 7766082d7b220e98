"""HoneyBee: its decoding with one caption and the other files of the system."""
