"""What programs write to a terminal that a test holds."""

import os
from contextlib import suppress


def rest_of(controller: int) -> str:
    """What comes until nobody has the terminal open any more; it is closed then. One read returns a part at most."""
    said = b""
    with suppress(OSError):  # EIO: the end
        while data := os.read(controller, 10_000):
            said += data
    os.close(controller)
    return said.decode()
