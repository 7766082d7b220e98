"""`virc merge`: a checkpoint becomes a model."""
