"""Ways to find the answer of a problem by several samples or more questions, one file each. `registry` finds them."""
