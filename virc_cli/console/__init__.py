"""What commands share: output, progress, options and confirmation."""
