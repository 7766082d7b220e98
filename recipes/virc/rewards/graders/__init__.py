"""A reward that grades what was just drawn: rollouts of `virc data sample`, and solutions for a strategy."""
