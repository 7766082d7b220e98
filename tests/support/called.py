"""The real entry point, called in this process."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from support import secrets


class Done(NamedTuple):
    """What one call left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        assert self.out.count("\n") == 1, self.out
        value: dict[str, Any] = json.loads(self.out)
        return value

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line of stdout as an object."""
        return [json.loads(line) for line in self.out.splitlines()]


def virc(*words: object, stdin: bytes = b"") -> Done:
    """Run the real entry point in this process."""
    from virc_cli.main import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in words])
    finally:
        sys.stdin = before
    texts = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    assert not (leaks := secrets.shown("".join(texts))), f"{leaks} are printed by virc {' '.join(map(str, words))}"
    return Done(code, *texts)
