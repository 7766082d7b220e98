"""The commands, by their names with their groups."""
