"""The reasoning protocol: parsing, coordinates, image sizes and the Session. No I/O, no engine."""
