"""A custom tool tried by its file, with a picture."""
