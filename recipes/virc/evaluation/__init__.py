"""`virc eval`: benchmarks, figures and reports."""
