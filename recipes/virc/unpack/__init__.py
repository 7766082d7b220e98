"""Archives unpacked safely."""
