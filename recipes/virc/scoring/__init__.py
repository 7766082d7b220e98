"""Whether an answer is right: rules, algebra, a judge, boxes."""
