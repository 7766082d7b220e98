"""What vLLM's log says of its end."""

import re
from collections import deque
from collections.abc import Iterable

from virc.core.text import clause

_RAISED = re.compile(r"^(?:\(\w+ pid=\d+\) ERROR .*?\] )?(?:  Value error, |[\w.]*(?:Error|Exception): )(\S.*)")
_SECOND_HAND = ("Engine core initialization failed", "1 validation error for")
_LAST_LINES = 2000


def reason(lines: Iterable[str]) -> str | None:
    """The last error that was raised in a log, without those that only repeat another; None where none was.

    vLLM's own last line is often a link, or refers to lines above.
    """
    found = (_RAISED.match(line) for line in deque(lines, _LAST_LINES))
    errors = [match[1] for match in found if match and not match[1].startswith(_SECOND_HAND)]
    return clause(ValueError(errors[-1])) if errors else None
