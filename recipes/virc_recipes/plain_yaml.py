"""YAML from a user's file in bounded memory and time: one mapping, no anchors, no key twice."""

from pathlib import Path

from virc_recipes.clauses import clause
from virc_recipes.errors import ConfigError
from virc_recipes.paths import contents

LIMIT = 64 * 1024  # bytes
DEPTH = 16


def read(path: Path) -> dict[str, object]:
    """Read a file that holds one mapping; a missing or empty file is an empty one.

    Raises:
        ConfigError: it cannot be read, is over `LIMIT` bytes, or is not such a mapping.
    """
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a file of at most `LIMIT` bytes; a missing file is empty.

    Raises:
        ConfigError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        return contents(path, LIMIT).decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {clause(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error


def parse(text: str, name: str) -> dict[str, object]:
    """Parse YAML text whose root is a mapping with string keys.

    Args:
        text: YAML 1.1; anchors, tags, keys that stand twice and more than `DEPTH` levels are refused.
        name: what errors call it.

    Raises:
        ConfigError: the text is something else.
    """
    import yaml

    if len(text.encode(errors="surrogatepass")) > LIMIT:
        raise ConfigError(f"{name} is over {LIMIT >> 10} KiB")
    try:
        _refuse_tricks(text, name)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_doubles(root, name)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: numbers of endless digits
        where = _line(getattr(error, "problem_mark", None))
        reason = getattr(error, "problem", None) or "a value cannot be read"
        raise ConfigError(f"{name} is not YAML{where}: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{name} does not hold lines of the form `key: value`")
    return content


def _line(mark: object) -> str:
    return f" at line {getattr(mark, 'line', 0) + 1}" if mark else ""


def _refuse_tricks(text: str, name: str) -> None:
    """Refuse aliases, which multiply, depth, which the loader would follow, and tags, which mislead it."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
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
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise ConfigError(f"{name} says {key.value!r} twice, again{_line(key.start_mark)}")
        seen.add(str(key.value))
        _refuse_doubles(value, name)


def changed(text: str, key: str, value: str | int | float | None) -> str:
    """The text with one root key set, or removed for None; other lines and comments stay as they are.

    Raises:
        ConfigError: the file could not be read then.
    """
    import yaml

    wanted = {**parse(text, "the file"), key: value}
    if value is None:
        del wanted[key]
    line = "" if value is None else yaml.safe_dump({key: value}, allow_unicode=True, width=LIMIT).strip()
    edited = _edited(text, key, line)
    try:
        if parse(edited, "") == wanted:
            return edited
    except ConfigError:
        pass
    whole = yaml.safe_dump(wanted, allow_unicode=True, sort_keys=False)  # flow style and the like
    parse(whole, "the file with this change")
    return whole


def _edited(text: str, key: str, line: str) -> str:
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for name, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == key:
            start, end = name.start_mark.index, value.end_mark.index
            if line:
                return text[:start] + line + text[end:]
            after = text.find("\n", end)
            return text[: text.rfind("\n", 0, start) + 1] + (text[after + 1 :] if after >= 0 else "")
    return (text if text.endswith("\n") or not text else text + "\n") + line + "\n"
