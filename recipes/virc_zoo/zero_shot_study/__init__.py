"""Zero-Shot Visual Reasoning: its prompts, for pictures and for scenes as text."""
