"""Publishing models and rows on the hub."""
