"""Schemas and patterns of others are read in a bounded process: what has no end is told, and nothing is fetched."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tables import each_case

from virc.core.limits import bounded
from virc.core.limits.bounded import SCHEMAS, CostlyError, misfit, schema_fault

REMOTE = "http://127.0.0.1:9/schema"
ENDLESS = "it refers to itself without an end, or is too deep"


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@each_case(
    ("schema", "said"),
    [
        ({"type": "triangle"}, "'triangle' is not valid under any of the given schemas, at type"),
        ({"properties": {"a": {"required": "b"}}}, "'b' is not of type 'array', at properties.a.required"),
        ({"pattern": "("}, "'(' is not a 'regex', at pattern"),
        ("object", "'object' is not of type 'object', 'boolean'"),
        ({"items": {"$ref": REMOTE}}, f"'{REMOTE}' refers to what is not in it"),
        ({"$id": REMOTE, "items": {"$ref": "other"}}, "'other' refers to what is not in it"),
        ({"not": {"$dynamicRef": "#none"}}, "'#none' refers to what is not in it"),
        ({"$ref": "#/enum/0", "enum": ["x"]}, "it cannot be read: AttributeError"),
        ({"$ref": "#"}, ENDLESS),
        (deep(200), ENDLESS),
        (deep(100_000), "it is too deep"),
        ({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": REMOTE}]}, None),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, None),
    ],
)
def test_a_fault_of_a_schema_is_told(schema: Any, said: str | None) -> None:
    assert schema_fault(schema) == said


NAMED = {"properties": {"a": {"pattern": "^x+$"}}, "patternProperties": {"^b": {"type": "integer"}}}


@each_case(
    ("schema", "value", "said"),
    [
        (NAMED, {"a": "xx", "b1": 2}, None),
        (NAMED, {"a": "xy"}, "a: 'xy' does not match '^x+$'"),
        ({"type": "integer"}, "x" * 9000, f"'{'x' * 159}..."),
        ({"items": {"$ref": "#"}}, [[[[]]]], None),
        ({"multipleOf": 0.01}, 0.07, None), ({"multipleOf": 0.01}, 0.075, "0.075 is not a multiple of 0.01"),
        ({"dependentSchemas": {"a": {"$ref": "#"}}}, {"a": 1}, "it is too deep"),  # it has no end
    ],
)  # fmt: skip
def test_a_value_is_held_against_all_of_a_schema(schema: Any, value: Any, said: str | None) -> None:
    assert misfit(schema, value) == said


def test_an_endless_question_and_a_killed_process_cost_no_other() -> None:
    schema_fault({})
    first = SCHEMAS.process
    assert first
    with pytest.raises(CostlyError, match=r"it is too costly: one value takes over 0\.1 s of CPU time"):
        SCHEMAS.ask("find", 0.1, "(a+)+b", "a" * 60)
    assert first.returncode == (-signal.SIGPROF if sys.platform != "win32" else 1)  # not by the clock
    assert SCHEMAS.ask("find", 1, "(a+)+b", "aab") == ["aab", "aa"]
    assert SCHEMAS.process
    os.kill(SCHEMAS.process.pid, signal.SIGKILL)
    assert schema_fault({}) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_has_little_memory_and_leaves_no_core() -> None:
    schema_fault({})
    assert bounded.SCHEMAS.process
    lines = Path(f"/proc/{bounded.SCHEMAS.process.pid}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
    assert (limits["Max address space"], limits["Max core file size"]) == (str(2**29), "0")
