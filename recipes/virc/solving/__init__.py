"""One problem or many: rows in, answers and traces out."""
