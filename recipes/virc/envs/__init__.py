"""The engines' own environments: pinned versions, how they are made, and what this machine has."""
