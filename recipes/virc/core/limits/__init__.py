"""What problems, pictures, and schemas and patterns of others may take: bytes, memory and CPU time."""
