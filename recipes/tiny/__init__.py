"""Training of the embedded model `tiny` from random weights; only in a source checkout, not in the wheel.

Run it with the folder `recipes` on the path: `PYTHONPATH=recipes python -m tiny.loop --help`.
"""
