"""YAML from a user's file in bounded memory and time: one mapping, no anchors, no key twice.

PyYAML reads YAML 1.1; its loaders are changed (`_reading_1_2`) where that would surprise a user: `1e-6` is a number,
dates and `1:30:00` are text, and `<<` is a key like any other.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from virc.core.errors import ConfigError
from virc.core.files import contents, is_file
from virc.core.text import clause

LIMIT = 64 * 1024  # bytes
DEPTH = 16


def read_mapping(path: Path, hint: str | None = None, is_optional: bool = False) -> dict[str, object]:
    """Read a file that holds one mapping; an empty file, and an optional one that is missing, is an empty one.

    Raises ConfigError: else. `hint` is for a file that is missing.
    """
    if not is_optional and not is_file(path):
        raise ConfigError(f"there is no file {path}", hint)
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a file of at most `LIMIT` bytes; a missing file is empty. Raises ConfigError: it cannot be read."""
    try:
        return contents(path, LIMIT).decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {clause(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error


def parse(text: str, name: str) -> dict[str, object]:
    """Parse YAML text whose root is a mapping with string keys; errors call it `name`.

    Anchors, tags, keys that stand twice and more than `DEPTH` levels are refused.
    """
    content = _content(text, name) if text else None  # a missing file is the usual one, and PyYAML takes time
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{name} does not hold lines of the form `key: value`")
    _refuse_keys(content, name)
    return content


def value(text: str, name: str) -> object:
    """Parse the YAML of one value, as it stands behind `key:`; the same is refused as by `parse`."""
    content = _content(text, name)
    _refuse_keys(content, name)
    return content


def lines(text: str) -> dict[tuple[str, ...], int]:
    """The line, from 1, of every key of a text that `parse` reads; a key is named by all keys that lead to it."""
    return {path: key.start_mark.line + 1 for path, key, _ in _values_in(text) if key}


def replaced(text: str, values: Mapping[tuple[str, ...], str]) -> str:
    """The text with other texts as the values of these keys; all else, comments too, stays as it is.

    A value is named by all keys that lead to it; in a list, its position, from 0, is its key.
    """
    changes = [
        (node, _scalar(values[path])) for path, _, node in _values_in(text) if node.id == "scalar" and path in values
    ]
    for node, new in reversed(changes):  # from the end, so that positions before it stay right
        text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
    return text


_Value = tuple[tuple[str, ...], Any, Any]
"""A value of a text: the keys that lead to it, PyYAML's node of the last of them (None in a list), and its own node."""


def _values_in(text: str) -> Iterator[_Value]:
    import yaml

    return _values_below(yaml.compose(text, Loader=_reading_1_2(yaml.SafeLoader)), ())


def _values_below(node: Any, path: tuple[str, ...]) -> Iterator[_Value]:
    children: list[tuple[str, Any, Any]] = []
    if node and node.id == "mapping":
        children = [(key.value, key, value) for key, value in node.value]
    elif node and node.id == "sequence":
        children = [(str(position), None, value) for position, value in enumerate(node.value)]
    for name, key, value in children:
        yield (*path, name), key, value
        yield from _values_below(value, (*path, name))


def _scalar(text: str) -> str:
    simple = re.fullmatch(r"[\w./+-]+", text) and _content(text, "it") == text
    return text if simple else json.dumps(text, ensure_ascii=False)


class _Without:
    """A pattern that matches as `pattern` does, but no text that `excluded` matches; PyYAML calls its `match`."""

    def __init__(self, pattern: re.Pattern[str], excluded: re.Pattern[str]) -> None:
        self._pattern, self._excluded = pattern, excluded

    def match(self, text: str) -> re.Match[str] | None:
        return None if self._excluded.match(text) else self._pattern.match(text)


@cache
def _reading_1_2(kind: Any) -> Any:
    """A loader or dumper of PyYAML, changed to take plain words as YAML 1.2 does.

    PyYAML keeps, for each first letter, the patterns of plain words and the type (tag) of what they match.
    """
    changed: Any = type(kind.__name__, (kind,), {})
    unwanted = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
    sixties = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?\Z")  # 1:30:00, which is no time but 5400 in YAML 1.1
    changed.yaml_implicit_resolvers = {
        first: [(tag, _Without(pattern, sixties)) for tag, pattern in resolvers if tag not in unwanted]
        for first, resolvers in kind.yaml_implicit_resolvers.items()
    }
    number = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+\Z")
    changed.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return changed


def _content(text: str, name: str) -> object:
    return deepcopy(_parsed(text, name))  # a command may need a file in several places; PyYAML takes its time


@lru_cache(256)
def _parsed(text: str, name: str) -> object:
    import yaml

    if len(text.encode(errors="surrogatepass")) > LIMIT:
        raise ConfigError(f"{name} is over {LIMIT >> 10} KiB")
    fast = getattr(yaml, "CSafeLoader", None)  # in C where PyYAML has it, and twenty times as fast
    if fast:
        with suppress(yaml.YAMLError, ValueError, OverflowError):
            return _loaded(text, name, _reading_1_2(fast))
    try:
        return _loaded(text, name, _reading_1_2(yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: numbers of endless digits
        where = _line(getattr(error, "problem_mark", None))
        reason = getattr(error, "problem", None) or "a value cannot be read"
        raise ConfigError(f"{name} is not YAML{where}: {reason}") from error


def _loaded(text: str, name: str, loader: Any) -> object:
    _refuse_tricks(text, name, loader)
    reading = loader(text)  # a safe loader, as its parent is
    try:
        node = reading.get_single_node()
        _refuse_doubles(node, name)
        return None if node is None else reading.construct_document(node)
    finally:
        reading.dispose()


def _refuse_keys(content: object, name: str) -> None:
    """Refuse keys that are no text, such as `1` and `on`, at any depth."""
    if isinstance(content, list):
        for inner in content:
            _refuse_keys(inner, name)
    for key, inner in content.items() if isinstance(content, dict) else ():
        if not isinstance(key, str):
            raise ConfigError(f"{name} has the key {key!r}, which is not text", "put it in quotes")
        _refuse_keys(inner, name)


def _line(mark: object) -> str:
    return f" at line {getattr(mark, 'line', 0) + 1}" if mark else ""


def _refuse_tricks(text: str, name: str, loader: Any) -> None:
    """Refuse aliases, which multiply, depth, which the loader would follow, and tags, which mislead it."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tricks = {
            "nested too deeply": depth > DEPTH,
            "using anchors, which are not read here": isinstance(event, yaml.AliasEvent),
            "using tags, which are not read here": getattr(event, "tag", None) is not None,
        }
        for trick, played in tricks.items():
            if played:
                raise ConfigError(f"{name} is {trick}{_line(event.start_mark)}")


def _refuse_doubles(node: object, name: str) -> None:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_doubles(child, name)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:  # the texts of keys, before they become numbers and the like
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise ConfigError(f"{name} says {key.value!r} twice, again{_line(key.start_mark)}")
        seen.add(str(key.value))
        _refuse_doubles(value, name)


def changed(text: str, key: str, value: str | int | float | None) -> str:
    """The text with one root key set, or removed for None; other lines and comments stay as they are."""
    import yaml

    wanted = {**parse(text, "the file"), key: value}
    if value is None:
        del wanted[key]
    dumper = _reading_1_2(yaml.SafeDumper)
    line = yaml.dump({key: value}, Dumper=dumper, allow_unicode=True, width=LIMIT).strip() if value is not None else ""
    edited = _edited(text, key, line)
    with suppress(ConfigError):
        if parse(edited, "") == wanted:
            return edited
    whole = yaml.dump(wanted, Dumper=dumper, allow_unicode=True, sort_keys=False)  # flow style and the like
    parse(whole, "the file with this change")
    return whole


def _edited(text: str, key: str, line: str) -> str:
    import yaml

    root = yaml.compose(text, Loader=_reading_1_2(yaml.SafeLoader))
    for name, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == key:
            start, end = name.start_mark.index, value.end_mark.index
            if line:
                return text[:start] + line + text[end:]
            after = text.find("\n", end)
            return text[: text.rfind("\n", 0, start) + 1] + (text[after + 1 :] if after >= 0 else "")
    return (text if text.endswith("\n") or not text else text + "\n") + line + "\n"
