"""What a stage needs: memory, disk and time."""
