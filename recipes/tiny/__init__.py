"""How the embedded model `tiny` is trained from nothing. Not part of the installed package."""
