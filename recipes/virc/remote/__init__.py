"""Tools whose calls a server carries out, over HTTP or MCP: one YAML file each."""
