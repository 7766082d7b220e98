"""Systems as packages for others' trainers and evaluations, whose messages, crops and rewards are those of virc."""
