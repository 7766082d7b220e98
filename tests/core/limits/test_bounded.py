"""Schemas and patterns of others are read in bounded processes: what has no end is told, and nothing is fetched."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from virc.core.limits import bounded
from virc.core.limits.bounded import CostlyError, find, misfit, schema_fault

REMOTE = "http://127.0.0.1:9/schema"
DRAFT7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "triangle"}, "'triangle' is not valid under any of the given schemas, at type"),
        ({"properties": {"a": {"required": "b"}}}, "'b' is not of type 'array', at properties.a.required"),
        ({"pattern": "("}, "'(' is not a 'regex', at pattern"),
        ("object", "'object' is not of type 'object', 'boolean'"),
        ({"items": {"$ref": REMOTE}}, f"'{REMOTE}' refers to what is not in it"),
        ({"properties": {"a": {"$schema": DRAFT7, "$ref": REMOTE}}}, f"'{REMOTE}' refers to what is not in it"),
        ({"$id": REMOTE, "items": {"$ref": "other"}}, "'other' refers to what is not in it"),
        ({"not": {"$dynamicRef": "#none"}}, "'#none' refers to what is not in it"),
        ({"$ref": "#/$defs/none"}, "'#/$defs/none' refers to what is not in it"),
        ({"$ref": "#/enum/0", "enum": ["x"]}, "it cannot be read: AttributeError"),
        ({"$ref": "#"}, "it refers to itself without an end, or is too deep"),
        ({"anyOf": [{"not": {"$ref": "#"}}]}, "it refers to itself without an end, or is too deep"),
        ({"$dynamicAnchor": "a", "$dynamicRef": "#a"}, "it refers to itself without an end, or is too deep"),
        ({"if": {"$ref": "#/then"}, "then": {"$ref": "#/if"}}, "it refers to itself without an end, or is too deep"),
    ],
)
def test_a_fault_of_a_schema_is_told(schema: Any, said: str) -> None:
    assert schema_fault(schema) == said


def test_depth_is_a_fault_and_ends_nothing() -> None:
    for depth in (200, 100_000):
        schema: dict[str, Any] = {}
        for _ in range(depth):
            schema = {"items": schema}
        assert "too deep" in (schema_fault(schema) or "")
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert misfit({}, value) == "it is too deep"
    assert misfit({"items": {"$ref": "#"}}, [[[[]]]]) is None
    assert misfit({"dependentSchemas": {"a": {"$ref": "#"}}}, {"a": 1}) == "it is too deep"  # it has no end


def test_what_a_schema_names_like_keywords_is_none() -> None:
    assert schema_fault({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": REMOTE}]}) is None
    assert schema_fault({"$ref": "https://json-schema.org/draft/2020-12/schema"}) is None  # every validator knows it


def test_a_value_is_held_against_all_of_a_schema() -> None:
    schema = {"properties": {"a": {"pattern": "^x+$"}}, "patternProperties": {"^b": {"type": "integer"}}}
    assert misfit(schema, {"a": "xx", "b1": 2}) is None
    assert misfit(schema, {"a": "xy"}) == "a: 'xy' does not match '^x+$'"
    assert misfit(schema, {"b1": "2"}) == "b1: '2' is not of type 'integer'"
    assert len(misfit({"type": "integer"}, "x" * 9000) or "") < 200


def test_a_process_that_was_ended_by_others_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_idle", [])  # those of tests in several threads are more than one
    assert schema_fault({}) is None
    for process in bounded._idle:
        os.kill(process.pid, signal.SIGKILL)
    assert schema_fault({}) is None
    for process in bounded._idle:
        bounded.end(process)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions have a tenth of a second of CPU time; processes that were started before are left alone."""
    monkeypatch.setattr(bounded, "_idle", [])
    monkeypatch.setattr(bounded, "SECONDS", 0.1)


@pytest.mark.usefixtures("short")
def test_what_takes_too_long_is_ended_and_the_next_is_answered() -> None:
    with pytest.raises(CostlyError, match=r"the pattern '\(a\+\)\+b': it is too costly: one value takes over 0.1 s"):
        find("(a+)+b", "a" * 60)
    assert find("(a+)+b", "aab") == ["aab", "aa"]


@pytest.mark.usefixtures("short")
def test_the_share_of_cpu_time_ends_a_question_not_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int | None] = []
    end = bounded.end

    def noted(process: "subprocess.Popen[bytes]") -> None:
        end(process)
        codes.append(process.returncode)

    monkeypatch.setattr(bounded, "end", noted)
    with pytest.raises(CostlyError, match="it is too costly"):
        find(r"(a|a)*b", "a" * 40)
    assert codes == [-signal.SIGPROF]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_has_little_memory_and_leaves_no_core() -> None:
    schema_fault({})
    lines = Path(f"/proc/{bounded._idle[-1].pid}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
    assert (limits["Max address space"], limits["Max core file size"]) == (str(2**29), "0")
