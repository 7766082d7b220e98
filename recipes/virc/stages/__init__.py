"""The settings of a stage: where each comes from, and what can be checked without an engine."""
