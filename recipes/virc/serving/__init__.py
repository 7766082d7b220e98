"""`virc serve`: endpoints for models, with and without the tool loop."""
