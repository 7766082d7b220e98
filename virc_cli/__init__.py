"""The command line `virc`: parse, call a recipe, print. Nothing heavy is imported before it is used."""
