"""An MCP server: any agent can ask a model about pictures, crop, scale and show them, and compare answers."""
