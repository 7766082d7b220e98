"""Ctrl-C before and after a command runs. It imports nothing that takes time."""

import os


def leave(number: int, _frame: object) -> None:
    """End the process at once, with the exit code that a shell gives one which this signal ended."""
    os.write(2, b"error: interrupted\n")
    os._exit(128 + number)
