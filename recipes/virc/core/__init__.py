"""What every room uses: errors, text, files, locks, processes, time limits."""
