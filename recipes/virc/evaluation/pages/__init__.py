"""Pages of an evaluation: the report, and each problem with its pictures and replies."""
