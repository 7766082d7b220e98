"""Rows as engines and files hold them, and the record that every format is read into."""
