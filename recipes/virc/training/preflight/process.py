"""The process that checks a stage's rows before its engine starts; it runs in the engine's interpreter.

`python -m virc.training.preflight.process REQUEST` takes a request as JSON, and prints one JSON object on stdout and
its progress on stderr. An error is in that object too, with exit code 0.
"""

import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec

from virc.core.errors import ConfigError, EngineError, ErrorFields, VircError, error_of, sent_fields
from virc.core.plan import Step
from virc.core.processes import own_stdout
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest

_EVERY = 5.0  # seconds between two lines on stderr


class _Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    result: Result | None = None
    error: ErrorFields | None = None


def step(request: Request, python: Path, recipes: Path) -> Step:
    env = {
        "PYTHONPATH": str(recipes),
        "PYTHONDONTWRITEBYTECODE": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",  # there are several processes already
    }
    argv = (str(python), "-m", "virc.training.preflight.process", _encoded(request).decode())
    return Step(argv, "check the rows", env)


def read_failure(stdout: str) -> Result:
    """Raises the VircError that such a process found."""
    try:
        reply = msgspec.json.decode(stdout, type=_Reply, dec_hook=lambda kind, value: kind(value))
    except msgspec.MsgspecError as error:
        raise EngineError("the check of the rows printed no result") from error
    if reply.result:
        return reply.result
    if reply.error is None:
        raise EngineError("the check of the rows printed neither a result nor an error")
    raise error_of(reply.error)


def main(words: list[str], answers: TextIO | None = None) -> int:
    """Check what a request asks for; the result goes to `answers`, or else to stdout."""
    from virc.tools import registry as tools
    from virc.training.preflight import pairs, rl, sft

    answers = answers or sys.stdout
    with redirect_stdout(sys.stderr):  # what the user's code prints is no answer
        try:
            request = _request(words[0])
            tools.load(request.loads)
            progress = _progress()
            if isinstance(request, RlRequest):
                found = rl.check(request, progress)
                if request.tries_tools:
                    offered = (each.protocol.tools for each in request.sources.values())
                    tools.check_ready(dict.fromkeys(chain(found.protocol.tools, *offered)))
            elif isinstance(request, PairsRequest):
                found = pairs.check(request, progress)
            else:
                found = sft.check(request, progress)
            if stay := found.protocol.images_stay:
                fault = f"`images_stay` of the chat protocol is {stay}, but rows and rollouts show images to all"
                raise ConfigError(fault, "train with a chat protocol without `images_stay`")
            reply = _Reply(found)
        except VircError as error:
            reply = _Reply(error=sent_fields(error))
    print(_encoded(reply).decode(), file=answers, flush=True)
    return 0


def _request(text: str) -> Request:
    kinds: Any = Request
    try:
        return cast(Request, msgspec.json.decode(text, type=kinds, dec_hook=lambda kind, it: kind(it)))
    except msgspec.MsgspecError as error:
        raise VircError(f"this is not a request: {error}") from error


def _progress() -> Callable[[str], None]:
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show


def _encoded(value: Request | _Reply) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_stdout(sys.stdout)))
