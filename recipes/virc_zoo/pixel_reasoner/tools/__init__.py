"""The tools of Pixel Reasoner."""
