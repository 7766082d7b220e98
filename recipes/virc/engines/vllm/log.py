"""What vLLM's log says of its start and of its end."""

import re
from collections import deque
from collections.abc import Iterable

from virc.core.text import clause

_RAISED = re.compile(r"^(?:\(\w+ pid=\d+\) ERROR .*?\] )?(?:  Value error, |[\w.]*(?:Error|Exception): )(\S.*)")
_SECOND_HAND = ("Engine core initialization failed", "1 validation error for")
_LAST_LINES = 2000
_STAGES = {
    "] non-default args: ": "model config",
    "] Using max model len ": "engine process",
    "] Starting to load model ": "weights",
    "] Loading weights took ": "profiling",
    "] Starting torch.compile": "compile",
    "] torch.compile took ": "profiling",
    "] Warming up model for the compilation": "compile",
    " KV cache size: ": "KV cache",
    "Capturing CUDA graphs": "CUDA graphs",
    "] init engine (": "HTTP server",
}
"""What vLLM does next, by what it writes before."""


def stage(line: str) -> str | None:
    """The stage of vLLM's start that a line of its log belongs to; None if it belongs to none."""
    return next((stage for words, stage in _STAGES.items() if words in line), None)


def reason(lines: Iterable[str]) -> str | None:
    """The last error that was raised in a log, without those that only repeat another; None if there is none.

    vLLM's own last line is often a link, or refers to lines above.
    """
    found = (_RAISED.match(line) for line in deque(lines, _LAST_LINES))
    errors = [match[1] for match in found if match and not match[1].startswith(_SECOND_HAND)]
    return clause(ValueError(errors[-1])) if errors else None
