"""Where the rows of a batch come from: files of rows, and pictures that one question is about."""
