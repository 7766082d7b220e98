"""The user's settings, and plain values read from YAML and checked against typed classes."""
