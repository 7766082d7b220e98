"""What reaches the terminal: data on stdout, everything else on stderr, errors in one shape.

A command prints through this file only, so that `--json`, NO_COLOR and errors are answered in one place.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from virc.core import errors


class CancelledError(errors.VircError):
    """Ctrl-C."""

    kind, code = "interrupted", 130


class TerminatedError(errors.VircError):
    """SIGTERM."""

    kind, code = "terminated", 143


EXIT_CODES: dict[type[BaseException], tuple[int, str]] = {
    errors.VircError: (errors.VircError.code, "failure"),
    errors.UsageError: (errors.UsageError.code, "wrong usage"),
    errors.ConfigError: (errors.ConfigError.code, "config, model or protocol"),
    errors.SetupError: (errors.SetupError.code, "environment or hardware"),
    errors.DataError: (errors.DataError.code, "data"),
    errors.NetworkError: (errors.NetworkError.code, "network or checksum"),
    errors.EngineError: (errors.EngineError.code, "engine"),
    errors.NoAnswerError: (errors.NoAnswerError.code, "no answer"),
    errors.LimitError: (errors.LimitError.code, "stopped at --max-cost"),
    CancelledError: (CancelledError.code, "Ctrl-C"),
    BrokenPipeError: (141, "stdout closed by its reader"),
    TerminatedError: (TerminatedError.code, "SIGTERM"),
}
"""Exception class -> exit code and its meaning; `virc --help` prints this table."""

_known: dict[str, object] = {}
_ends: list[str] = []
_data: TextIO | None = None  # stdout of a command while others print on stderr
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def ends_when_stopped(text: str) -> None:
    """From here on a signal is how this command ends: `text` is printed then, not an error."""
    _ends.append(text)


def end(failure: errors.VircError) -> None:
    if _ends and isinstance(failure, CancelledError | TerminatedError):
        note(_ends[-1])
    else:
        error(failure)


def exit_code(error: BaseException) -> int:
    """The exit code of an error: that of its nearest class in `EXIT_CODES`, else 1."""
    return next((EXIT_CODES[cls][0] for cls in type(error).__mro__ if cls in EXIT_CODES), 1)


def error_class(code: int) -> type[errors.VircError]:
    """The class of errors with an exit code; `EngineError` for any other code, as of a process that was killed."""
    classes = {number: kind for kind, (number, _) in EXIT_CODES.items() if issubclass(kind, errors.VircError)}
    return classes.get(code, errors.EngineError)


def know(**fields: object) -> None:
    """Keep what is known so far (model, protocol …), for the `--json` object if the command fails."""
    _known.update(fields)


def forget() -> None:
    _known.clear()
    _ends.clear()


def emit(schema: str, fields: Mapping[str, object], error: errors.VircError | None = None) -> None:
    """Print the `--json` object of a command as one line on stdout; `error` is why it failed."""
    whole = {"schema": schema, **fields, "error": error and errors.fields_of(error)}
    line(json.dumps(whole, ensure_ascii=False, allow_nan=False))


def result(as_json: bool, schema: str, fields: Mapping[str, object], texts: Iterable[str]) -> None:
    if as_json:
        emit(schema, fields)
    else:
        lines(texts)


def emit_failure(schema: str, error: errors.VircError, fields: Mapping[str, object]) -> None:
    emit(schema, {**fields, **_known}, error)


def stdout() -> TextIO:
    """Where data goes."""
    return _data or sys.stdout


@contextmanager
def data_alone() -> Iterator[None]:
    """Keep stdout for what this file prints: what a reward or tool, its libraries and children print goes to stderr."""
    global _data
    if _data:
        yield
        return
    from virc.core.processes import own_stdout

    _data, sys.stdout = own_stdout(sys.stdout), sys.stderr
    try:
        yield
    finally:
        sys.stdout, _data = _data, None


def line(text: str) -> None:
    """Print one line of data on stdout, at once; on a terminal, control characters are made visible."""
    clear()  # else the data would be mixed with a line of progress
    print(clean(text) if stdout().isatty() else text, file=stdout(), flush=True)


def lines(texts: Iterable[str]) -> None:
    for text in texts:
        line(text)


def note(text: str, end: str = "\n", dim: bool = False) -> None:
    """Print progress or thoughts on stderr, at once; control characters are made visible."""
    _stderr((style(clean(text), "2") if dim else clean(text)) + end)


def note_left_out(paths: Iterable[Path], system: str | None = None, layout: Path | None = None) -> None:
    """Print on stderr which files the `dataset_info.json` of folders names that are not there, one line a folder."""
    from virc.data.formats.registry import left_out_note
    from virc.systems import registry as systems
    from virc.systems.layouts import registry as layouts

    how = systems.get(system) if system else None, layouts.read_layout(layout) if layout else None
    for path in dict.fromkeys(paths):
        if text := left_out_note(path, *how):
            note(text)


def warn(message: str, hint: str | None = None) -> None:
    _headed("warning", "33", message, hint)


def confirmed(question: str) -> bool | None:
    """Ask on the terminal; None where nobody is there to answer."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    try:
        note(f"{question} [y/N] ", end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        note("")  # the next text begins a line
        raise


def error(failure: errors.VircError) -> None:
    _headed("error", "31", failure.message, failure.hint)


def _headed(head: str, colour: str, message: str, hint: str | None) -> None:
    lines = [(head, colour, message)] + ([("hint", "36", hint)] if hint else [])
    _stderr("".join(f"{style(word + ':', '1', code)} {clean(text)}\n" for word, code, text in lines))


_rewritten = 0
"""Characters of the line on stderr that the next line will overwrite, such as progress; 0: there is none."""


def _stderr(text: str) -> None:
    """Write to stderr; if that is closed, the command goes on, as these texts are not its data.

    A text that ends with a carriage return will be overwritten: the next text first blanks its line.
    """
    global _rewritten  # noqa: PLW0603 (stderr is one, and so is the line it shows)
    rewrites = text.endswith("\r")
    blank = " " * _rewritten + "\r" if _rewritten and not rewrites else ""
    _rewritten = len(text.rstrip()) if rewrites else 0
    try:
        print(blank + text, end="", file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def clear() -> None:
    """Blank the line on stderr that the next line would overwrite, if there is one."""
    if _rewritten:
        _stderr("")


def silence(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter's last flush does not fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def clean(text: str) -> str:
    """Text with control characters written out, so that a model or a server cannot drive the terminal.

    They are written as JSON writes them, so that JSON stays what it was.
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def style(text: str, *codes: str) -> str:
    """Text in ANSI `codes` (1 bold, 2 dim, 31 red …) where stderr shows colour."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if colourful(sys.stderr) else text


def colourful(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colour (NO_COLOR unset, TERM not dumb)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
