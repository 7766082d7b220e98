"""What can go wrong, by kind; the command line maps each kind to one exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NotRequired, TypedDict

from virc.core.options import Spelling, spelled, spelled_hint
from virc.core.text import clause


class VircError(Exception):
    """A mistake or failure with one clear sentence and, where there is one, the next thing to type.

    Args:
        message: lower-case sentence without a full stop: what is wrong.
        hint: what to do, preferably a command to paste; options in either are marked as in `options`.
    """

    kind = "failure"
    code = 1
    """Exit code of the command that ends with it."""
    fails_all_requests = False
    """Whether any other request would fail alike: the endpoint is down, or refuses the key or the model."""
    is_full = False
    """Whether the conversation has more tokens or pictures than the model takes, so that a shorter one may be taken."""
    remedy: str | None = None
    """What to do with rows that failed of it before a rerun can help; None: a rerun alone may help."""
    place: str | None = None
    """The role and step of a pipeline that it came from; its message begins with them."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(_shortened(message))
        self.hint = hint

    @property
    def message(self) -> str:
        return spelled(self.args[0])

    @property
    def hint(self) -> str | None:
        return spelled_hint(self.unspelled_hint)

    @hint.setter
    def hint(self, hint: str | None) -> None:
        self.unspelled_hint = hint and _shortened(hint)

    def __str__(self) -> str:
        return self.message

    def spelled_by(self, spelling: Spelling) -> tuple[str, str | None]:
        """Return message and hint for another interface than that of this process."""
        return spelled(self.args[0], spelling), spelled_hint(self.unspelled_hint, spelling)


_MAX_MESSAGE, _END = 2000, 400
"""Characters of a message at most, and those of its end that stay: it may quote what a user gave."""


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - _END - 3]} … {text[-_END:]}"


class UsageError(VircError):
    """The command line itself is wrong."""

    kind, code = "usage", 2


class ConfigError(VircError):
    """A setting, model name, protocol or endpoint answer (400, 401, 403, 404) is wrong."""

    kind, code = "config", 3


class SetupError(VircError):
    """This machine lacks an extra, a device or the memory."""

    kind, code = "environment", 4


class DataError(VircError):
    """An image, a row or a file given as data is wrong."""

    kind, code = "data", 5
    remedy = "correct them"


class UnreadError(DataError):
    """A fault in a file of rows, behind which rows are not read: how many, or None where that is unknown."""

    def __init__(self, message: str, hint: str | None = None, rows: int | None = None) -> None:
        super().__init__(message, hint)
        self.rows = rows


class NetworkError(VircError):
    """A server is unreachable, times out, keeps failing or answers garbage."""

    kind, code = "network", 6
    broken = False
    """Whether there was no connection, or it broke before the answer was whole: asked again, it may answer."""
    wait: float | None = None
    """Of a server that is too busy: after how many seconds it asks to be tried again; 0: it does not say."""


class EngineError(VircError):
    """A model or engine ran and failed."""

    kind, code = "engine", 7


class NoAnswerError(VircError):
    """The model finished without an answer it stands by."""

    kind, code = "no_answer", 8


class LimitError(VircError):
    """A limit that the user set ended the work before all of it was done."""

    kind, code = "limit", 9


@contextmanager
def errors_as(
    kind: type[VircError],
    sentence: str,
    hint: str | None = None,
    caught: type[Exception] | tuple[type[Exception], ...] = OSError,
) -> Iterator[None]:
    """A context that raises errors of the classes `caught` as a `kind`: `sentence`, a colon, and the error's text."""
    try:
        yield
    except caught as error:
        raise kind(f"{sentence}: {clause(error)}", hint) from error


@contextmanager
def at_place(place: str, caught: type[VircError] | tuple[type[VircError], ...] = DataError) -> Iterator[None]:
    """A context that puts `place`, such as `row 3`, before the messages of errors of the classes `caught`."""
    try:
        yield
    except caught as error:
        raise type(error)(f"{place}: {error.args[0]}", error.unspelled_hint) from error


UNREADABLE = (OSError, ValueError, RecursionError)
"""Classes of the errors that reading and decoding a file raises."""

_INTERNAL = "internal: "


def as_virc_error(error: Exception, hint: str | None = None) -> VircError:
    """Return an error of this package as it is, and any other, a fault of ours, as one with that hint."""
    return error if isinstance(error, VircError) else VircError(f"{_INTERNAL}{type(error).__name__}: {error}", hint)


class ErrorFields(TypedDict):
    code: NotRequired[int]
    kind: str
    message: str
    hint: NotRequired[str | None]


def fields_of(error: VircError) -> ErrorFields:
    """The `error` object of `--json` and of a batch row."""
    return {"code": error.code, "kind": error.kind, "message": error.message, "hint": error.hint}


def sent_fields(error: VircError) -> ErrorFields:
    """The fields of which another process, whose interface is not known here, makes the error by `error_of`."""
    return {"kind": error.kind, "message": error.args[0], "hint": error.unspelled_hint}


def error_of(fields: ErrorFields) -> VircError:
    """The error that another process met, of the same class."""
    known: list[type[VircError]] = [*VircError.__subclasses__(), VircError]
    classes = {each.kind: each for each in known}  # some have no kind of their own
    return classes.get(fields["kind"], VircError)(fields["message"], fields.get("hint"))


def class_name(fields: ErrorFields) -> str:
    """The name of an error's class; for an internal error, of the class that `as_virc_error` wrapped."""
    message = fields["message"]
    is_other = message.startswith(_INTERNAL)
    return message.removeprefix(_INTERNAL).partition(":")[0] if is_other else type(error_of(fields)).__name__
