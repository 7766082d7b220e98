"""Visual tools, one file each; to add a tool, add a file."""
