"""Options in the texts of errors: a room marks them, and the interface that shows the error spells them.

"lower «--max-pixels 50176»" is "lower --max-pixels 50176" on the command line and "lower max_pixels=50176" in Python;
the client of a server reads the argument that it sends itself, and no hint with an option that it has not. A variable
of the environment that only commands read is marked alike, «export VIRC_API_KEY=KEY». A whole command, such as
`virc data check FILE --clean DIR`, is not: it is the same wherever there is a shell.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, get_origin


class Option(NamedTuple):
    """An option in a text.

    Args:
        written: as a command line has it.
        name: as an argument of Python, or of the variable.
        value: as a shell takes it, a word for one such as URL, or "".
    """

    written: str
    name: str
    value: str


Spelling = Callable[[Option], str | None]
"""How an interface spells an option; None: it has no such option."""

_MARKED = re.compile("«((?:--([a-z-]+) ?|(?:export )?(VIRC_[A-Z_]+)=?)([^»]*))»")
_MAPPINGS = {"set": "settings", "judge_endpoint": "judge_endpoints"}
"""Options of `train` whose values may be KEY=VALUE, as arguments of Python; `declare` adds others to these tables."""
_SEQUENCES = {"tools": "tools", "with": "overlays"}
_OTHERS = {"from": "base", "VIRC_API_KEY": "api_key", "VIRC_JUDGE_KEY": "VIRC_JUDGE_KEY"}
_FLAGS = {
    *"answers continue counterfactuals embed gguf keep_packed own_words public resume rows_changed".split(),
    *"skip_faulty trust_rows".split(),
}


def declare(name: str, argument: str, kind: object) -> None:
    """Have texts spell an option of commands as an argument of Python of that type."""
    kind = get_origin(kind) or kind
    if kind is bool:
        _FLAGS.add(name)
    elif kind in (Iterable, Mapping):
        (_SEQUENCES if kind is Iterable else _MAPPINGS)[name] = argument


def marked(name: str) -> str:
    """Return the option of that name, as in Python, marked for the text of an error."""
    return f"«--{name.replace('_', '-')}»"


def on_command_line(option: Option) -> str:
    return option.written


def in_python(option: Option) -> str | None:
    name, value = _OTHERS.get(option.name, option.name), _unquoted(option.value)
    if name == "dry_run":
        return None
    if name == "no_submit":
        return "submit=False"
    if name.isupper():
        return option.written if option.name in _OTHERS else None
    key, _, assigned = value.partition("=")
    if name in _MAPPINGS and assigned and re.fullmatch(r"[\w.]+", key):
        return f"{_MAPPINGS[name]}={{{key!r}: {_literal(assigned)}}}"
    if name in _SEQUENCES and value:
        return f"{_SEQUENCES[name]}=[{_literal(value)}]"
    return f"{name}={_literal(value or str(name in _FLAGS or ''))}"


def in_yaml(option: Option) -> str:
    """In a file of settings, whose lines `--set` replaces."""
    key, _, value = _unquoted(option.value).partition("=")
    return f"{key}: {value}" if option.name == "set" else option.written


def in_fields(*fields: str, **others: str) -> Spelling:
    """Return how a client reads them that sends these fields; `others` have another name than the option, the key."""
    names = dict(zip(fields, fields, strict=True)) | others
    return lambda option: f"{names[option.name]} {option.value}".strip() if option.name in names else None


_spelling: Spelling = in_python  # of this process


@contextmanager
def shown_by(spelling: Spelling) -> Iterator[None]:
    """A context in which errors of this process are shown by another interface than Python."""
    global _spelling  # noqa: PLW0603 (a process has one interface)
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before


def spelled(text: str, spelling: Spelling | None = None) -> str:
    """Return a text with its options as an interface, by default this process's, spells them."""
    spell = spelling or _spelling
    return _MARKED.sub(lambda found: spell(option := _option(found)) or _named(option), text)


def spelled_hint(hint: str | None, spelling: Spelling | None = None) -> str | None:
    """Return a hint as `spelled` does, without its clauses that name an option which the interface has not."""
    spell = spelling or _spelling
    clauses = (hint or "").split("; ")
    known = [each for each in clauses if all(spell(_option(found)) for found in _MARKED.finditer(each))]
    return spelled("; ".join(known), spell) or None


def _named(option: Option) -> str:
    return f"{option.name.replace('_', ' ')} {option.value}".strip()


def _option(found: re.Match[str]) -> Option:
    return Option(found[1], found[3] or found[2].replace("-", "_"), found[4])


def _unquoted(value: str) -> str:
    with suppress(ValueError):
        return " ".join(shlex.split(value))
    return value


def _literal(word: str) -> str:
    """A value in Python; words that stand for one, such as URL, stay."""
    if not word or re.fullmatch("[A-Z_]+|True", word):
        return word
    try:
        return repr(json.loads(word))
    except ValueError:
        return repr(word)
