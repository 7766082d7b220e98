"""docs/grammar.md shows every field that a grammar and the words of a system have."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from code_blocks import blocks

from virc.reasoning.grammar import Body, CallForm, Grammar
from virc.reasoning.protocol import PICTURES, Words

PAGE = "docs/grammar.md"


def examples() -> list[dict[str, Any]]:
    return [yaml.safe_load(block.text) for block in blocks(PAGE) if block.marks.get("file", "").endswith(".yaml")]


def keys(value: object) -> Iterator[str]:
    """Every key in a value, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_field_stands_in_an_example() -> None:
    used = {key for example in examples() for key in keys(example)}
    fields = {name for kind in (Grammar, CallForm, Words) for name in kind.__struct_fields__}
    # docs/extras/sandbox.md and docs/extras/video.md say what these are
    elsewhere = {"code", "frame_line", "images_stay", "image_gone"}
    assert fields - elsewhere | {*PICTURES, "coordinates"} <= used


def test_every_body_of_a_call_has_an_example_that_is_read() -> None:
    forms = [form for example in examples() for form in example["chat_protocol"]["grammar"].get("calls", ())]
    assert {form.get("body", "call") for form in forms} == set(get_args(Body))
    shown = "".join(block.text for block in blocks(PAGE) if "output" in block.marks)
    assert len(re.findall(r"^reply \d", shown, re.MULTILINE)) >= 2 * len(get_args(Body))
    assert "fault" not in shown
