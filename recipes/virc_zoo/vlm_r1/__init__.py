"""What VLM-R1 has of its own: the total of its rewards."""
