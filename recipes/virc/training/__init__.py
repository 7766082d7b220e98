"""`virc train`: checks, estimates, and one attempt at a run."""
