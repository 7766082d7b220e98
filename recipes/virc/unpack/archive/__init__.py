"""Archives read member by member, and the folder they are written into."""
