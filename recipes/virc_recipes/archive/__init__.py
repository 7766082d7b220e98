"""Archives of files from somebody else: their streams, what their members claim, and a folder to put them in."""
