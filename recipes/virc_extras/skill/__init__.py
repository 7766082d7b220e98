"""A skill for agents of programmers: how to use virc."""
