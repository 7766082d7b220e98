"""Tools that draw on an image, turn it, change its tones, put a grid over it or measure in it."""
