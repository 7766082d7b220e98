"""What a published file must not contain: keys, and paths of this machine.

Keys of services are known by the rules of kingfisher, a program that reads texts and asks nobody; those that a name, a
header or an address gives away are found here, and so are the values of this user's variables.
"""

import codecs
import html
import io
import json
import os
import re
import subprocess
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from virc.config.user import cache_folder
from virc.config.yaml import read_mapping
from virc.core import extras
from virc.core.credentials import is_secret
from virc.core.errors import DataError, SetupError
from virc.core.files import is_path
from virc.core.tables.encodings import encoding_of, open_utf8
from virc.core.text import plain
from virc.reasoning.images import image_size

Paths = Literal["none", "own", "all"]


_FORMS: Any = read_mapping(Path(__file__).with_name("keys.yaml"))


def _lines(kinds: Mapping[str, str]) -> list[str]:
    return [form for kind in kinds.values() for form in kind.splitlines()]


def _any(kinds: Mapping[str, str]) -> str:
    telling = "|".join(_lines(_FORMS["telling"]))
    return f"(?:{'|'.join(_lines(kinds))})".replace("TELLING", f"(?:{telling})s?")


_KEYS = [*map(re.compile, _lines(_FORMS["anywhere"]))]
_PREFIXED = re.compile(rf"{_any(_FORMS['prefixes'])}([\w-]{{22,}})")
_VALUE = re.compile(r"(?<![\w.~+/%!@#$^&*-])(?:-p)?(?=[\w.~+/%!@#$^&*-]*\d)([\w.~+/%!@#$^&*-]{10,}+)(?![(\w])")
_WHOLE = re.compile(rf"(?:\S*[/@])?{_any(_FORMS['values'])}")
_BEHIND = [
    (each["within"], each["words"].split(), re.compile(rf"(?i){_any({'': each['forms']})}\Z"))
    for each in _FORMS["behind"].values()
]
_AHEAD = re.compile(_any(_FORMS["ahead"]), re.IGNORECASE)
_ID = re.compile("(?:[a-z_]+token)?(?:[0-9a-f]{16}|[0-9a-f]{32})")
_NEAR_RECORD = re.compile(rf"{_any(_FORMS['records'])}_tokens?\b")
_OF_RECORD = re.compile(rf"(?:(?<![\w-])|{_any(_FORMS['records'])}_)tokens?\W+(?:[0-9a-f]+\W+)*\Z")
_TABLE = re.compile(r"^[^|\n]*+\|.*\n[ \t]*+[|:-][ \t|:-]*+\n(?:[^|\n]*+\|.*\n?)++", re.MULTILINE)
_MAX_COLUMN = 64  # characters of a column's name
_MAX_NAME = 256
_SWITCH = re.compile(r"(?<=[a-z])(?=[A-Z\d])|(?<=\d)(?=[A-Za-z])|(?<=[A-Z])(?=\d|[a-z](?![a-z]))")
"""Where a small letter, a capital and a digit follow each other, but for the capital of a word."""
_MIN_SWITCHES = 0.2
"""Of a random value, for each of its characters; words with numbers have fewer."""
_HOMES = r"(?<![\w.])/(?:home|Users)/[\w.-]+|\b[A-Za-z]:[\\/]+Users[\\/]+\w"
_QUOTED = re.compile(r"""["'`](?:file://)?(/(?:[^"'`\\/\n]+/)+[^"'`\\/\n]{1,255})["'`]""")
_ESCAPED = re.compile(r"""\\+(?:((?:u[0-9A-Fa-f]{4}\\*)*u[0-9A-Fa-f]{4})|(["'/\\nrt]))|"{2,}|&(?:amp;)*(#?\w{2,31};)""")
"""What JSON, CSV, HTML and code write for a character, however often one of them was put into another."""
_PERCENT = re.compile(r"""(?<![^\s"'<>])(?=[^\s"'<>]*%[0-9A-Fa-f]{2})[^\s"'<>]+""")
_MAX_PERCENT = 3  # times that a part of an address was encoded
_BREAK = (
    r"""(?:(?:["'`][ \t]*\+?|[\\=])?[ \t]*\r?\n[ \t]*(?:[#>*][ \t]*|\+?[ \t]*["'`])?"""
    r"""|["'`][ \t]*\+[ \t]*["'`]|<br ?/?>)"""
)
"""Between two parts of a text that goes on in the next line, in prose, mail, comments or code, or is added up."""
_BROKEN = re.compile(rf"(?<![\w+/.~-])([\w+/.~-]{{2,}}+)((?:{_BREAK}[\w+/.~-]{{2,}}+)++)")
_MIN_BROKEN, _MAX_BEFORE = 20, 64
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4096,}")
"""Longer than any key: a picture within a row, in which all short keys occur by chance."""
_HARMLESS = re.compile(rf"(?i)://[\w.%+-]*:{_any(_FORMS['harmless'])}")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_ABSOLUTE = re.compile(r"(?:file://|~|[A-Za-z]:)?[/\\][^\s/\\]+(?:[/\\]\S*)?")
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x5d\x00\x00": "LZMA", b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "LZ4", b"7z\xbc\xaf\x27\x1c": "7z",
}  # fmt: skip
"""How files begin whose texts cannot be read as they stand."""
_MAX_MAGIC = max(map(len, _COMPRESSED))
_CHUNK, _OVERLAP = 2**20, 2**12
_MIN_KEY, _MIN_PARTS = 8, 2
_MAX_SEARCHED = 2**26  # characters that the program gets at once
_NAME_ITSELF = "in its name"
_FOUND = 200
"""Its exit code where it finds something."""
_REVOKE = "revoke the key if others saw it; if it is none, `hf upload HUB_ID FILE` sends the file"
_HINT = f"remove it; {_REVOKE}"


class LeakSearch:
    """Looks for keys and paths of this machine in the texts of many files."""

    def __init__(self) -> None:
        self._own = [value for key, value in os.environ.items() if is_secret(key) and len(value) >= _MIN_KEY]
        self._own_unescaped = [*map(_unescaped, self._own)]
        self._texts: list[str] = []
        self._places: list[tuple[int, str, str | int, str]] = []
        self._line, self._size = 1, 0
        self._faults: dict[str, DataError] = {}
        self._of_names: dict[str, DataError] = {}

    def look_through(self, name: str, texts: Iterable[tuple[str | int, str]], paths: Paths = "all") -> None:
        """Look for a key or a path of this machine in a file; `faults` names what is found.

        Args:
            name: of the file, for messages.
            texts: each with where it is in the file, or with the number of its first line.
            paths: "own": those of this user and of this folder, and quoted ones that are there; "all": home folders of
                others too, which rows may be about; "none": words of a tokenizer look like some.
        """
        here = [
            re.escape(str(each)) + r"(?![\w-])" for each in (Path.home(), Path.cwd()) if len(each.parts) > _MIN_PARTS
        ]
        home = re.compile("|".join([*here, _HOMES] if paths == "all" else here) or r"(?!)")
        for where, raw in texts:
            written = raw.replace("\0", "")  # which are between the letters of UTF-16 without a mark
            text = _BASE64.sub("", _unescaped(written))
            is_own = any(value in written for value in self._own) or self._has_own(text)
            text = text if is_own else _HARMLESS.sub("://", text)
            if is_own or _has_key(text):
                lines = text.split("\n") if isinstance(where, int) else []
                line = next((at for at, each in enumerate(lines, 1) if _has_key(each) or self._has_own(each)), None)
                self._faults[name] = _fault(name, _place(where, written, line))
                return
            self._collect(name, where, written, text)
            if paths == "none":
                continue
            found = home.search(text)
            named = found[0] if found else next(filter(is_path, _QUOTED.findall(text)), None)
            if named:
                start = found.start() if found else text.index(named)
                place = _place(where, written, text.count("\n", 0, start) + 1)
                sentence = f"{name}, {place}, names a path of this machine: {plain(named, 80)}"
                self._faults[name] = DataError(sentence, "make it relative")
                return

    def look_through_names(self, names: Iterable[str]) -> None:
        """Look for keys in the names of files; `faults` has those names shortened."""
        for name in names:
            text = _unescaped(plain(name, _OVERLAP))
            if _has_key(text) or self._has_own(name):
                self._of_names[name] = _fault(name, _NAME_ITSELF)
            else:
                self._collect(name, _NAME_ITSELF, name, text)

    def refuse(self, name: str, fault: DataError) -> None:
        """Say for another reason that a file is not sent."""
        self._faults[name] = fault

    def faults(self) -> dict[str, DataError]:
        """One fault of each file by its name: that of a key which the program found first, as others may quote it."""
        self._search()
        return self._faults | self._of_names

    def _has_own(self, text: str) -> bool:
        return any(value in text for value in self._own_unescaped)

    def _collect(self, name: str, where: str | int, written: str, text: str) -> None:
        self._places.append((self._line, name, where, written))
        self._texts.append(text)
        self._line += text.count("\n") + 1
        self._size += len(text)
        if self._size > _MAX_SEARCHED:
            self._search()

    def _search(self) -> None:
        of_texts: dict[str, DataError] = {}
        for line in lines_with_keys("\n".join(self._texts)) if self._texts else ():
            first, name, where, written = self._places[bisect(self._places, line, key=lambda place: place[0]) - 1]
            faults = self._of_names if where == _NAME_ITSELF else of_texts
            faults.setdefault(name, _fault(name, _place(where, written, line - first + 1)))
        self._faults |= of_texts
        self._texts, self._places, self._line, self._size = [], [], 1, 0


def lines_with_keys(text: str) -> list[int]:
    """The lines, from 1, at which kingfisher finds a key. Raises SetupError: it is not installed, or fails."""
    extras.require("kingfisher", "looking for keys before something is published", "push")
    from kingfisher import get_binary_path  # type: ignore[import-untyped, unused-ignore]

    cache = cache_folder(os.environ) / "kingfisher"
    # never asks a service whether a key is valid, and obeys no comment that excuses one
    options = ["--no-validate", "--no-update-check", "--no-ignore", "--no-dedup", "--confidence", "low", "--redact"]
    command = [get_binary_path(), "scan", "-", "--format", "jsonl", *options, "--rule-cache-dir", str(cache)]
    done = subprocess.run(command, input=text.encode(errors="replace"), capture_output=True, check=False)
    if done.returncode not in (0, _FOUND):
        said = plain(done.stderr.decode(errors="replace")[-300:])
        raise SetupError(f"kingfisher, which looks for keys, failed with exit code {done.returncode}: {said}")
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(int(each["finding"]["line"]) for each in printed if "finding" in each)


def _has_key(text: str) -> bool:
    if any(form.search(text) for form in _KEYS):
        return True
    if any(_is_random(found[1]) for found in _PREFIXED.finditer(text)):
        return True
    return any(_is_key(found) for found in _VALUE.finditer(text) if _is_random(found[1], _MIN_SWITCHES / 2))


def _is_key(value: re.Match[str]) -> bool:
    if _WHOLE.fullmatch(value[1]):
        return True
    if not _is_random(value[1]):
        return False
    if _AHEAD.match(value.string, value.end(1)):
        return True
    before = value.string[max(0, value.start(1) - _MAX_NAME) : value.start(1)]
    small = before.lower()
    named = (
        form.search(before[-most:]) for most, words, form in _BEHIND if any(word in small[-most:] for word in words)
    )
    return any(named) and not _is_record(value, before)


def _is_record(value: re.Match[str], before: str) -> bool:
    """Whether it is an identifier in a table of records, where it is called a token."""
    near = before + value.string[value.end(1) : value.end(1) + _MAX_NAME]
    return bool(_ID.fullmatch(value[1]) and _OF_RECORD.search(before) and _NEAR_RECORD.search(near))


def _is_random(value: str, least: float = _MIN_SWITCHES) -> bool:
    return len(_SWITCH.findall(value)) > least * len(value)


def _fault(name: str, where: str) -> DataError:
    if where == _NAME_ITSELF:
        return DataError(f"the file name {shortened(name)} contains a key", f"rename it; {_REVOKE}")
    return DataError(f"{name}, {where}, contains a key", _HINT)


def shortened(name: str) -> str:
    """A file's name of which no part shows a key."""
    return "/".join(plain(part) if len(part) < _MIN_KEY else f"{plain(part[:4])}…" for part in name.split("/"))


def _place(where: str | int, written: str, line: int | None) -> str:
    """Where in its file a line, from 1, of a text without escapes is; None: a key that several lines make up."""
    if isinstance(where, str):
        return where
    if line is None:
        return f"from line {where} on"
    for number, each in enumerate(written.split("\n"), where):
        line -= _unescaped(each).count("\n") + 1
        if line <= 0:
            return f"line {number}"
    return f"from line {where} on"


def _unescaped(text: str) -> str:
    """A text without the escapes of JSON, CSV, HTML and code: what is quoted within quotes reads as it would alone.

    Behind a part of an address stands the same without its percent signs, and behind a part of a key that goes on in
    the next line the whole of it with what is before it; before a table stands each cell with the name of its column.
    """

    def plain_text(escaped: re.Match[str]) -> str:
        if escaped[1]:
            return bytes.fromhex(re.sub(r"\\|u", "", escaped[1])).decode("utf-16-be", "replace")
        if escaped[3]:
            return html.unescape(f"&{escaped[3]}")
        return _CONTROLS.get(escaped[2], escaped[2]) if escaped[2] else '"'

    def decoded(part: re.Match[str]) -> str:
        text = part[0]
        for _ in range(_MAX_PERCENT):
            text = unquote(text)
        return f"{part[0]} {_ESCAPED.sub(plain_text, text)}"

    def joined(broken: re.Match[str]) -> str:
        whole = broken[1] + re.sub(_BREAK, "", broken[2])
        if len(whole) < _MIN_BROKEN or not _is_random(whole):
            return broken[0]
        before = broken.string[max(0, broken.start() - _MAX_BEFORE) : broken.start()].rpartition("\n")[2]
        return f"{broken[1]} {before}{whole}{broken[2]}"

    def with_names(table: re.Match[str]) -> str:
        head, _, *rows = [line.strip().strip("|").split("|") for line in table[0].splitlines()]
        names = [name.strip()[-_MAX_COLUMN:] for name in head]
        return "".join(f"{name}:{cell} " for row in rows for name, cell in zip(names, row, strict=False)) + table[0]

    text = _TABLE.sub(with_names, text) if "|" in text else text
    if any(sign in text for sign in ("\\", '""', "&")):
        text = _ESCAPED.sub(plain_text, text)
    text = _PERCENT.sub(decoded, text) if "%" in text else text
    return _BROKEN.sub(joined, text)


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The text of a file in pieces that overlap, each with the number of the line it begins in.

    Raises DataError: the file is compressed.
    """
    with file.open("rb") as opened:
        refuse_compressed(opened.read(_MAX_MAGIC), file.name)
    number, rest = 1, ""
    with open_utf8(file) as opened:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := opened.read(_CHUNK):
            text = rest + decoder.decode(piece)
            yield number, text
            rest = text[-_OVERLAP:]
            number += text.count("\n") - rest.count("\n")


def refuse_compressed(content: bytes, name: str) -> None:
    """Raise DataError: these bytes are compressed, so that a key in them would not be found."""
    form = next((form for magic, form in _COMPRESSED.items() if content.startswith(magic)), None)
    if form:
        raise DataError(f"{name} is compressed with {form} and cannot be looked through", "unpack it, or leave it out")


def is_picture(content: bytes | Path) -> bool:
    """Whether a file is a picture by its content, whatever its name."""
    try:
        return bool(image_size(content, ""))
    except DataError:
        return False


def text_of(content: bytes) -> str:
    return content.decode(encoding_of(io.BytesIO(content)) or "utf-8", "replace")


def strings(value: Any) -> Iterator[str]:
    """All texts in a row, quoted and with their names as a text file has them; pictures as bytes have none.

    Raises DataError: bytes in it are compressed.
    """
    if isinstance(value, str):
        yield f'"{value}"'
    elif isinstance(value, bytes):
        if not is_picture(value):
            refuse_compressed(value, "a value")
            yield text_of(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            texts = strings(each)
            yield f'"{key}": {next(texts, "")}'
            yield from texts
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def _is_absolute(value: Any) -> bool:
    return isinstance(value, str) and bool(_ABSOLUTE.fullmatch(value))


def without_paths(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Settings in JSON without the keys that are, or whose value is, an absolute path, and the names of these keys."""
    removed: list[str] = []

    def kept(value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [kept(each, name) for each in value]
        if not isinstance(value, dict):
            return value
        paths = [key for key, each in value.items() if _is_absolute(key) or _is_absolute(each)]
        removed.extend(f"{name}{key}" for key in paths)
        return {key: kept(each, f"{name}{key}.") for key, each in value.items() if key not in paths}

    settings = kept(msgspec.json.decode(content), "")
    if not removed:
        return content, ()
    return msgspec.json.format(msgspec.json.encode(settings)) + b"\n", tuple(removed)
