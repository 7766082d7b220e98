"""How many tokens rows have: those of `sft`, prompts of `rl`, and how the counts of a file are kept."""
