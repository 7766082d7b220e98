"""VLM-R1 for InternVL and GLM-4V: the totals of their rewards."""
