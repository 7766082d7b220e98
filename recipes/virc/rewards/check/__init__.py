"""What is wrong with a reward for the rows it is to score: columns they lack, and terms that never differ."""
