"""Texts that the authors of a system wrote: references to their repository, fetched by `virc download`, not shipped.

`texts.yaml` next to a system's YAML names the repositories and, for each text, the file, what of it is taken, and the
SHA-256 of the result. `{text:NAME}` in a string of the system's files stands for one. With `VIRC_OWN_WORDS=1` our own
wording stands there, which the system's models were not trained with.
"""

import ast
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.config.user import cache_folder
from virc.core.errors import UNREADABLE, ConfigError, errors_as
from virc.core.files import contents, is_file
from virc.core.text import clause
from virc.systems.names import HUB_ID, NAMED, Commit

FILE = "texts.yaml"
OWN_WORDS = "VIRC_OWN_WORDS"
"""The variable that says, if set, that our own words stand for all texts of others."""
MAX_BYTES = 2**20
NO_LICENSE = "license: none stated"
_TELLING = 24  # characters: a longer text in our own words is taken for ours wherever it stands
_PLACE = re.compile(r"\{text:(\w+)\}")
_LEFT = re.compile(r"\{\s*texts?\s*:[^}]*\}?")
"""What looks like such a place, and is none."""
_NO = ("", "0", "no", "false", "off")
_Any = TypeVar("_Any")

Repository = Annotated[
    str, Meta(pattern=rf"^(hf:(datasets/)?)?{HUB_ID}\Z", description="OWNER/NAME of GitHub, or hf: and a hub id")
]
FileName = Annotated[
    str, Meta(pattern=r"^(?![/\\])(?!.*\.\.)[^\x00-\x1f\\:]+\Z", description="a path inside the repository")
]
TextName = Annotated[str, Meta(pattern=r"^\w+\Z", description="letters, digits and _")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="a SHA-256 in quotes")]


class AbsentTextError(ConfigError):
    """A text of a system's authors is not on this machine."""


class TextSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    commit: Commit
    license: str | None = None


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of a repository.

    Args:
        file: its path there.
        length, sha256: characters and digest of the text, with our slots.
        own: our own words with the same slots and marks.
        source: the repository, if it is not the first.
        python: the name of the string, as `NAME`, `Class.NAME` or `function.NAME`, or the line it begins on. The file
            is parsed, never run. In an f-string, an expression is taken as written, in braces. Of several, the texts
            are joined.
        join: what stands between several texts.
        lines: the first and last line, from 1.
        json: a JSON pointer; the lines of a list are joined.
        cut: first character and the one behind the last, counted as slices of Python are.
        slots: how a slot is written there -> here.
    """

    file: FileName
    length: int
    sha256: Digest
    own: str
    source: Repository | None = None
    python: str | int | tuple[str | int, ...] | None = None
    join: str = ""
    lines: tuple[int, int] | None = None
    json: str | None = None
    cut: tuple[int, int | None] = (0, None)
    slots: Mapping[str, str] = {}


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `texts.yaml`: repositories as OWNER/NAME of GitHub or `hf:` and a hub id, and texts by name."""

    sources: Mapping[Repository, TextSource]
    texts: Mapping[TextName, Reference]

    def __post_init__(self) -> None:
        for name, each in self.texts.items():
            if not self.sources or each.source not in (None, *self.sources):
                raise ValueError(f"`sources` does not name the repository of the text {name}")

    def source_of(self, reference: Reference) -> str:
        return reference.source or next(iter(self.sources))

    def files(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        for each in self.texts.values():
            found.setdefault(self.source_of(each), {})[each.file] = None
        return {source: tuple(files) for source, files in found.items()}


def of(folder: Path) -> Texts | None:
    """Return the texts of the system in a folder; None: it has none of others. Raises ConfigError: it is wrong."""
    file = folder / FILE
    return _read(file, file.stat().st_mtime_ns) if is_file(file) else None


@cache
def _read(file: Path, changed: int) -> Texts:
    content = plain_yaml.read_mapping(file)
    for fault in validation.faults(content, Texts):
        raise ConfigError(f"{file}: {fault.message}", fault.hint)
    return msgspec.convert(content, Texts)


def place(source: str, commit: str) -> Path:
    name = source.removeprefix("hf:").replace("/", "+")
    return cache_folder(os.environ) / "texts" / f"{name}@{commit[:12]}"


def places(found: Texts, source: str) -> Iterator[Path]:
    yield from (place(source, found.sources[source].commit) / file for file in found.files()[source])


def own_words() -> bool:
    return os.environ.get(OWN_WORDS, "").lower() not in _NO


def is_own_wording(folder: Path) -> bool:
    return own_words() and of(folder) is not None


def filled(value: _Any, folder: Path, own: bool = False) -> _Any:
    """Return strings, or a structure of them, with the texts that are named in them.

    Args:
        folder: of the system.
        own: take our own words.

    Raises:
        ConfigError: a text is not on this machine, or is not the one that was referred to.
    """
    if isinstance(value, str):
        if left := _LEFT.search(_PLACE.sub("", value)):
            raise ConfigError(
                f"{left[0]!r} stands for no text", "a text is named as {text:NAME}, with letters, digits and _"
            )
        return _PLACE.sub(lambda found: text(folder, found[1], own), value)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: filled(each, folder, own) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return type(value)(filled(each, folder, own) for each in value)  # type: ignore[call-arg]
    return value


def text(folder: Path, name: str, own: bool = False) -> str:
    found = of(folder)
    if found is None or name not in found.texts:
        raise ConfigError(f"{folder / FILE} has no text {name!r}, which {{text:{name}}} stands for")
    if own or own_words():
        return found.texts[name].own
    source = found.source_of(found.texts[name])
    file = place(source, found.sources[source].commit) / found.texts[name].file
    if not is_file(file):
        raise AbsentTextError(
            f"the text {name!r} of {system_of(folder)}'s authors is not on this machine",
            f"virc download texts --system {system_of(folder)}, or ask in our own words: «--own-words»",
        )
    return _extracted(folder, name, file, (folder / FILE).stat().st_mtime_ns)


def sources(folder: Path) -> list[dict[str, Any]]:
    """Return the repositories that texts of the system in a folder are from: which texts, and whether they are here."""
    found = of(folder)
    return [
        {
            "source": source,
            "commit": each.commit,
            "license": each.license,
            "texts": [name for name, text in found.texts.items() if found.source_of(text) == source],
            "here": own_words() or all(file.is_file() for file in places(found, source)),
        }
        for source, each in (found.sources.items() if found else ())
        if found and source in found.files()
    ]


def check_texts(folder: Path) -> None:
    for name in found.texts if (found := of(folder)) else ():
        text(folder, name)


def credited(folder: Path, made: str) -> list[str]:
    """Return whose texts stand in what is made of the system in a folder, a sentence for each repository.

    Args:
        made: what is made, as JSON, to see whether our own words are in it.
    """
    found = of(folder)
    if found is None:
        return []
    ours = (json.dumps(each.own)[1:-1] for each in found.texts.values())
    if any(len(own) > _TELLING and own in made for own in ours):
        return []
    known = (
        (name, each.commit[:7], f"license: {each.license}" if each.license else NO_LICENSE)
        for name, each in found.sources.items()
    )
    return [f"It holds texts of {name}, commit {commit}, {license}." for name, commit, license in known]


def system_of(folder: Path) -> str:
    file = folder / "system.yaml"
    named = NAMED.search(plain_yaml.read_text(file)) if is_file(file) else None
    return named[1] if named else str(folder)


@cache
def _extracted(folder: Path, name: str, file: Path, changed: int) -> str:
    """The text of the entry `name` of `texts.yaml`, which was `changed` then; parsed once."""
    reference = _read(folder / FILE, changed).texts[name]
    again = f"virc download texts --system {system_of(folder)} fetches it, if {file} is deleted"
    with errors_as(ConfigError, f"{file} does not have the text {name!r}", again, UNREADABLE):
        found = extract(reference, contents(file, MAX_BYTES))
        digest = sha256(found.encode()).hexdigest()
    if (len(found), digest) != (reference.length, reference.sha256):
        sentence = f"{file}: the text {name!r} is another one than the system names"
        raise ConfigError(f"{sentence} ({len(found)} characters, not {reference.length})", again)
    return found


def extract(reference: Reference, content: bytes) -> str:
    whole = content.decode("utf-8-sig") if reference.python is None else ""
    if reference.python is not None:
        wanted = reference.python if isinstance(reference.python, tuple) else (reference.python,)
        found = reference.join.join(_of_python(content, each) for each in wanted)
    elif reference.lines:
        first, last = reference.lines
        found = "\n".join(whole.split("\n")[first - 1 : last])
    elif reference.json is not None:
        found = _of_json(json.loads(whole), reference.json)
    else:
        found = whole
    found = found[slice(*reference.cut)]
    if not reference.slots:
        return found
    written = sorted(reference.slots, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, written)), lambda match: reference.slots[match[0]], found)


def _of_json(value: Any, pointer: str) -> str:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"there is no {pointer}") from None
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "".join(value)
    if not isinstance(value, str):
        raise ValueError(f"{pointer} is no text")
    return value


def _of_python(code: bytes, wanted: str | int) -> str:
    """Return the string of that name, or the longest one that begins on that line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes in their strings
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"it is no Python: {clause(error)}") from None
    if isinstance(wanted, int):
        nodes = (each for each in ast.walk(tree) if isinstance(each, ast.expr) and each.lineno == wanted)
        texts = [found for each in nodes if (found := _string(each)) is not None]
        if not texts:
            raise ValueError(f"no string begins on line {wanted}")
        return max(texts, key=len)
    *scopes, name = wanted.split(".")
    texts = list(dict.fromkeys(found for each in _assigned(_scope(tree, scopes), name) if (found := _string(each))))
    if len(texts) != 1:
        raise ValueError(f"{wanted!r} is set to {len(texts)} strings" if texts else f"it has no string {wanted!r}")
    return texts[0]


def _scope(tree: ast.AST, names: list[str]) -> ast.AST:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for name in names:
        inside = (each for each in ast.walk(tree) if isinstance(each, kinds) and each.name == name and each is not tree)
        found = next(inside, None)
        if found is None:
            raise ValueError(f"it has no class or function {name!r}")
        tree = found
    return tree


def _assigned(tree: ast.AST, name: str) -> Iterator[ast.expr]:
    """Yield what a name, an attribute or a key of a dictionary is set to. Raises ValueError: it is added to."""
    for each in ast.walk(tree):
        if isinstance(each, ast.Assign | ast.AnnAssign | ast.AugAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            if any(name in (getattr(target, "id", None), getattr(target, "attr", None)) for target in targets):
                if isinstance(each, ast.AugAssign):
                    raise ValueError(f"{name!r} is put together in several steps")
                yield each.value
        elif isinstance(each, ast.Dict):
            keys = zip(each.keys, each.values, strict=True)
            yield from (value for key, value in keys if isinstance(key, ast.Constant) and key.value == name)


def _string(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(map(_part, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _string(left), _string(right)
            if first is not None or second is not None:
                return (_part(left) if first is None else first) + (_part(right) if second is None else second)
    return None


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node)}}}"
    spec = _string(node.format_spec) if node.format_spec else None
    return f"{{{ast.unparse(node.value)}{f':{spec}' if spec else ''}}}"
