"""Tables on disk: read from Parquet and delimited text, and written so that spreadsheets open them."""
