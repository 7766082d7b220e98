"""Events of the package, printed for tests."""

import sys

from virc.core.events import Event


def show_event(event: Event) -> None:
    """Print it on stderr, as the commands do."""
    print(f"{event.kind}: {event.text}", file=sys.stderr)
