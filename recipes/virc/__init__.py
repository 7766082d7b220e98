"""Recipes, reasoning core, tools and data of virc; imports no engine and no command line at load."""
