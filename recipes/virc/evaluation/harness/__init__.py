"""lmms-eval, asked to evaluate a model."""
