"""Rows are made of rows: one operator a file, streamed, resumable, with what each leaves out."""
