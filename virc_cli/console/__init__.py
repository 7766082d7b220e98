"""What commands share: output, progress, options, confirmation and parse errors."""
