"""YAML as it is meant, and every misfit of it in words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from virc.config import dotted, validation
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-6", 1e-6), ("a: 1e6", 1e6), ("a: 1:30:00", "1:30:00"),
        ("a: 22:30", "22:30"), ("a: 2024-01-01", "2024-01-01"),
        ("a: =", "="),
        ("a: .5e1", 5.0),
        ("a: " + "[" * 15 + "]" * 15, json.loads("[" * 15 + "]" * 15)),
    ],
)  # fmt: skip
def test_a_value_is_what_people_mean(text: str, value: object) -> None:
    assert plain_yaml.parse(text, "it") == {"a": value}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:\n- b: 1\n  b: 2", "it says 'b' twice, again at line 3"),
        ("a: &x 1\nb: *x", "it is using anchors, which are not read here at line 2"),
        ("a: {on: 1}", "it has the key True, which is not text"),
        ("a: " + "[" * 16 + "]" * 16, "it is nested too deeply"),
        ("on: 1", "it does not hold"), ("a: [", "it is not YAML"),
        ("a: " + "é" * 2**15, "it is over 64 KiB"),
    ],
)  # fmt: skip
def test_what_misleads_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plain_yaml.parse(text, "it")
    assert says in str(refused.value)
    assert (refused.value.hint == "put it in quotes") == ("which is not text" in says)


def test_a_file_of_windows_begins_with_its_first_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert plain_yaml.read_mapping(tmp_path / "a.yaml") == {"a": 1, "b": 2}
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        plain_yaml.read_mapping(tmp_path / "a.yaml")


TEXT = "# first\na: 1  # one\nb:\n- c: x\n- y\nd: {c: x, é: z}\n"


def test_lines_and_texts_are_found_by_their_keys() -> None:
    places = {("a",): 2, ("b",): 3, ("b", "0", "c"): 4, ("d",): 6, ("d", "c"): 6, ("d", "é"): 6}
    assert plain_yaml.lines(TEXT) == places
    changed = plain_yaml.replaced(TEXT, {("b", "0", "c"): "new", ("b", "1"): "true", ("d", "é"): "é: 1"})
    assert changed == '# first\na: 1  # one\nb:\n- c: new\n- "true"\nd: {c: x, é: "é: 1"}\n'


@pytest.mark.parametrize(
    ("text", "key", "value", "changed"),
    [
        ("# mine\na: 1", "b", 2, "# mine\na: 1\nb: 2\n"),
        ("a: 1  # one\nb: 2\n", "a", None, "b: 2\n"),
        ("a: 1  # one\n# two\nb: 2\n", "a", 3, "a: 3  # one\n# two\nb: 2\n"),
        ("ab: 1\na: 2\n", "a", 3, "ab: 1\na: 3\n"), ("{b: 1, a: 2}", "c", 3, "b: 1\na: 2\nc: 3\n"),
    ],
)  # fmt: skip
def test_one_key_is_set_and_all_else_stays(text: str, key: str, value: int | str | None, changed: str) -> None:
    assert plain_yaml.changed(text, key, value) == changed


class Inner(msgspec.Struct):
    """One of several."""

    name: str
    count: Annotated[int, Meta(ge=1, le=9)] = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    """What a file may hold; `low` is at most `high`."""

    kind: Literal["sft", "rl"]
    low: float = 0
    high: float = 1
    parts: tuple[Inner, ...] = ()
    named: Mapping[str, Inner] = {}
    names: tuple[str, ...] = ()
    pair: tuple[int, int] | None = None
    sizes: Mapping[Literal["cpu", "cuda"], int] = {}

    def __post_init__(self) -> None:
        """Raise ValueError where it does not go together."""
        if self.low > self.high:
            raise ValueError("`low` is over `high`")


WHOLE = "a whole number"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"kind": "slt"}, [("kind", "kind must be `rl` or `sft`, not 'slt'", "did you mean 'sft'?")]),
        ({"kind": "rl", "lov": 1}, [("lov", "unknown key 'lov'", "did you mean 'low'?")]),
        ({"kind": "rl", "low": float("inf")}, [("low", "low must be a number with an end, not inf", None)]),
        (
            {"kind": "rl", "parts": [{"name": "a"}, {"name": "b", "count": 10}, {"nam": "c"}]},
            [
                ("parts.1.count", "parts.1.count must be a whole number from 1 to 9, not 10", None),
                ("parts.2.nam", "unknown key 'parts.2.nam'", "did you mean 'name'?"),
                ("parts.2.name", "parts.2.name is missing", None),
            ],
        ),
        ({"kind": "rl", "names": ["a", 2]}, [("names", "each of names must be text, not 2", "put it in quotes")]),
        (
            {"kind": "rl", "pair": [1, 2, 3]},
            [("pair", f"pair must be a list of 2, such as [{WHOLE}, {WHOLE}] or null, not a list of 3", None)],
        ),
        ({"low": 2}, [("kind", "kind is missing", None)]),  # nothing is said of what goes together before all is there
        ({"kind": -(10**50)}, [("kind", "kind must be `rl` or `sft`, not an endless number", None)]),
        (
            {"kind": "rl", "sizes": {"cpv": "x"}},
            [
                ("sizes.cpv", "the name sizes.cpv must be `cpu` or `cuda`, not 'cpv'", "did you mean 'cpu'?"),
                ("sizes.cpv", "sizes.cpv must be a whole number, not 'x'", None),
            ],
        ),
    ],
)
def test_every_misfit_is_said_with_its_place(value: object, found: list[tuple[str, str, str | None]]) -> None:
    said = [(".".join(each.path), each.message, each.hint) for each in validation.faults(value, Outer)]
    assert said == found


@pytest.mark.parametrize(
    ("value", "kind", "path", "found"),
    [
        ([1, "b"], tuple[int, int], ("a", "pair"), ["value 2 of a.pair must be a whole number, not 'b'"]),
        ({"kind": "rl", "low": 2}, Outer, ("a", "b"), ["a.b: `low` is over `high`"]),
        (
            {"kind": "rl", "parts": [{"name": "a", "x": 1}], "named": {"k": {"name": "a", "y": 1}}}, Outer, (),
            ["unknown setting 'parts.0.x'", "unknown setting 'named.k.y'"],
        ),
        (
            {"a": [1, float("inf")], "b": {"c": float("nan")}}, dict[str, Any], (),
            [f"{each} must be a number with an end, not {shown}" for each, shown in
             (("a", "a list of 2"), ("b", "lines of the form `key: value`"))],
        ),
    ],
)  # fmt: skip
def test_a_misfit_deep_inside_is_named_whole(value: Any, kind: Any, path: dotted.Path, found: list[str]) -> None:
    assert [each.message for each in validation.faults(value, kind, path, "setting")] == found


def test_arguments_of_python_are_held_against_their_types() -> None:
    validation.check_arguments(Inner("a", 9))
    validation.check_arguments(Inner(5, 9), without=("name",))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="name must be text, not 5") as refused:
        validation.check_arguments(Inner(5))  # type: ignore[arg-type]
    assert refused.value.hint == "put it in quotes"
    with pytest.raises(UsageError, match="count must be a whole number from 1 to 9, not 10"):
        validation.check_arguments(Inner("a", 10))


def test_values_are_put_under_their_keys() -> None:
    values: dict[str, Any] = {"a": {"b": 1}, "c": None, "d": {}}
    assert list(dotted.leaves(values)) == [(("a", "b"), 1), (("c",), None), (("d",), {})]
    assert dotted.put(values, ("a", "b"), 2) is False
    assert dotted.put(values, ("c", "x"), {"y": 3}) is False  # what is no mapping becomes one
    assert dotted.put(values, ("a",), 4) is True
    assert values == {"a": 4, "c": {"x": {"y": 3}}, "d": {}}
    assert dotted.at(values, ("c", "x", "y")) == 3
    assert dotted.put(values, ("c", "x"), given := {"z": 1}) is True
    dotted.put(values, ("c", "x", "z"), 2)
    assert given == {"z": 1}  # what was given stays as it is
    nested = {"a": [1, {"b": 2, "c": 3}, 4], "b": 3, "c": 5, "d": {"b": 6, "e": 7, "c": 8}}
    left = dotted.without(nested, {("a", "0"), ("a", "1", "b"), ("c",), ("d", "b")})
    assert left == {"a": [{"c": 3}, 4], "b": 3, "d": {"e": 7, "c": 8}}
