"""A system's YAML from what sample replies show."""

import json
import pprint
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.reasoning.bodies import INDEX
from virc.systems.samples.find import Sample

_MAX_EXAMPLE = 600
_BRACES = re.compile(r"\{\w+\}")
"""What would be filled in, or looks as if it were to be."""
_HEAD = """\
# {name}, as far as sample replies show it. docs/grammar.md shows each field with a reply that it reads;
# `virc systems check ./{name}.yaml {size}--reply TEXT` shows how a reply is read, and what is sent next.
"""
_TAIL = """\

models: {}                  # short name: {hub: OWNER/NAME}, or {folder: ./weights}
# stages, reward and the rest: `virc systems new OTHER` writes an example of each section
"""
_TOOL = '''\
"""`NAME_HERE`, as sample replies call it, to be written; `virc systems new tool OTHER` shows an example."""

NAME = "NAME_HERE"
TEMPLATE = "after_image"
ARGUMENTS = SCHEMA_HERE
SCHEMA = {"type": "function", "function": {"name": NAME, "description": "", "parameters": ARGUMENTS}}


def apply(call, source):
    """A PIL image or a text; `call.arguments` has the arguments, `source` is the image of `image_index`."""
    return "NAME_HERE is not written yet"
'''
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_GO_ON = "Go on; look again wherever that helps."


def yaml_of(name: str, sample: Sample) -> str:
    """The YAML of a system of that name; notes are comments at its head."""
    size = f"--size {sample.size} " if sample.size else ""
    head = _HEAD.format(name=name, size=size) + "".join(f"# - {note}\n" for note in sample.notes)
    tools = f"[{', '.join(sample.tools)}]" if sample.tools else "none"
    lines = [f"name: {name}", "about: ''", f"coordinates: {sample.boxes.coordinates}", f"tools: {tools}", ""]
    lines += ["chat_protocol:              # ours: texts that a model was trained with go in their place"]
    lines += [*_texts(sample), *_fields(sample), "  grammar:", *_grammar(sample)]
    return head + "\n".join(lines) + "\n" + _TAIL


def tool_of(name: str, calls: Sequence[Mapping[str, Any]]) -> str:
    """The file of a tool that is called with these arguments, and is to be written."""
    values = {key: [call[key] for call in calls if key in call] for call in calls for key in call}
    properties = {key: _schema(each) for key, each in values.items()}
    required = [key for key, each in values.items() if len(each) == len(calls)]
    parameters = pprint.pformat(
        {"type": "object", "properties": properties, "required": required}, width=100, sort_dicts=False
    )
    return _TOOL.replace("NAME_HERE", name).replace("SCHEMA_HERE", parameters)


def _schema(values: Sequence[Any]) -> dict[str, str]:
    """The type of some values; none where they differ."""
    kinds = {next((name for kind, name in _TYPES.items() if isinstance(each, kind)), "") for each in values}
    return {"type": kind} if len(kinds) == 1 and (kind := kinds.pop()) else {}


def _texts(sample: Sample) -> Iterator[str]:
    example = sample.example or ""
    system = "You answer questions about pictures."
    if example and len(example) <= _MAX_EXAMPLE and not _BRACES.search(example):
        system = f"You look closer wherever the picture is too small to read. To do so, write\n{example}"
    grammar = sample.grammar
    think = f"Think in {'...'.join(grammar.think)}" if grammar.think else "Think step by step"
    answer = f"write {'...'.join(grammar.answer)}" if grammar.answer else "finish with the answer"
    said = f"{think}, then {'call a tool or ' * bool(sample.tools)}{answer}."
    yield from _block("system", system)
    yield from _block("first", "{question}\n" + said)
    yield '  image_line: ""'
    yield f"  after_image: {_flow(_GO_ON)}"


def _fields(sample: Sample) -> Iterator[str]:
    if sample.reading != "strict":
        yield f"  reading: {sample.reading}"
    if sample.boxes.box != "corners":
        yield f"  box: {sample.boxes.box}"
    if sample.boxes.float_boxes:
        yield "  float_boxes: true"


def _grammar(sample: Sample) -> Iterator[str]:
    grammar = sample.grammar
    yield f"    think: {_flow(grammar.think)}"
    yield "    calls:" if grammar.calls else "    calls: []"
    for form in grammar.calls:
        for number, (name, value) in enumerate(msgspec.to_builtins(form).items() or [("body", form.body)]):
            comment = "            # or last: the newest image" if name == "given" and INDEX in value else ""
            yield f"      {'-' if number == 0 else ' '} {name}: {_flow(value)}{comment}"
    yield f"    answer: {_flow(grammar.answer)}"
    if grammar.most_calls > 1:
        yield f"    most_calls: {grammar.most_calls}"
    if grammar.loose:
        yield "    loose: true"


def _block(name: str, text: str) -> Iterator[str]:
    if not all(each.isprintable() or each in "\n\t" for each in text):
        yield f"  {name}: {_flow(text)}"  # a block holds no such character
        return
    yield f"  {name}: |-"
    yield from (f"    {line}".rstrip() for line in text.split("\n"))


def _flow(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)
