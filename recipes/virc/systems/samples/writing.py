"""A system's YAML from what sample replies show."""

import json
import pprint
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.reasoning.bodies import BOX, INDEX
from virc.systems.samples.find import Sample
from virc.systems.samples.forms import from_one
from virc.systems.samples.parts import box_of, corners_in

_MAX_EXAMPLE, _MAX_NAME = 600, 60
_NUMBERED = re.compile(r"(.*\D)\d+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_BRACES = re.compile(r"\{\w+\}")
"""What would be filled in, or looks as if it were to be."""
_HEAD = """\
# {name}, as far as sample replies show it. The page Grammars shows each field with a reply that it reads;
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
_CUTTING = '''\
"""`NAME_HERE`: cut a box out, as sample replies call it."""

from functools import partial

from virc.tools import crop

NAME, TEMPLATE, CUTS = "NAME_HERE", "after_image", True
SCHEMA = crop.schema(NAME, "Cut a box out of an image and look at it alone."SCHEMA_HERE)
check, apply = partial(crop.check, name=NAME), crop.apply   # check=..., margin=0.1 cuts a tenth more at each side
'''
_READING = '''

def names(view):
    """What the images shown are called, oldest first; a guess."""
    return NAMES_HERE


def read(arguments, view):
    """The arguments with an image as a number from 0, and a box as a list of four numbers."""
    from virc.reasoning.calls import ToolError

    found, known = dict(arguments), names(view)
    if "image_index" in found:
        image = found["image_index"]
        if not any(type(each) is type(image) and each == image for each in known):
            shown, there = repr(image)[:60], ", ".join(map(str, known)) or "none"
            raise ToolError(f"there is no image {shown}; there are: {there}", "image", image=shown)
        found["image_index"] = known.index(image)
READ_HERE    return found


def write(arguments, view):
    """The other way round, for rows that are converted and for examples."""
    found = dict(arguments)
    if "image_index" in found:
        found["image_index"] = names(view)[found["image_index"]]
WRITE_HERE    return found
'''
_READ_TEXT = """\
    if isinstance(found.get("bbox_2d"), str):
        from virc.reasoning.coordinates import numbers_in

        found["bbox_2d"] = numbers_in(found["bbox_2d"])
"""
_READ_OBJECT = """\
    box, corners = found.get("bbox_2d"), CORNERS_HERE
    if isinstance(box, dict) and set(box) == set(corners):
        found["bbox_2d"] = [box[corner] for corner in corners]
"""
_WRITE_TEXT = """\
    if "bbox_2d" in found:
        found["bbox_2d"] = FORM_HERE.format(*found["bbox_2d"])
"""
_WRITE_OBJECT = """\
    if "bbox_2d" in found:
        found["bbox_2d"] = dict(zip(CORNERS_HERE, found["bbox_2d"]))
"""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_GO_ON = "Go on; look again wherever that helps."


def yaml_of(name: str, sample: Sample) -> str:
    size = f"--size {sample.size} " if sample.size else ""
    head = _HEAD.format(name=name, size=size) + "".join(f"# - {note}\n" for note in sample.notes)
    tools = f"[{', '.join(sample.tools)}]" if sample.tools else "none"
    lines = [f"name: {name}", "about: ''", f"coordinates: {sample.boxes.coordinates}", f"tools: {tools}", ""]
    lines += ["chat_protocol:              # ours: texts that a model was trained with go in their place"]
    lines += [*_texts(sample), *_fields(sample), "  grammar:", *_grammar(sample)]
    return head + "\n".join(lines) + "\n" + _TAIL


def tool_of(name: str, calls: Sequence[Mapping[str, Any]]) -> str:
    reading = _reading(calls)
    if all(box_of(call.get(BOX)) for call in calls):
        images, boxes = ([call[key] for call in calls if key in call] for key in (INDEX, BOX))
        kinds = {INDEX: name_of(images) and "string", BOX: _schema(boxes).get("type")}
        other = {key: {"type": kind} for key, kind in kinds.items() if kind not in (None, "array")}
        schema = f", **{other!r}" if other else ""
        return _CUTTING.replace("NAME_HERE", name).replace("SCHEMA_HERE", schema) + reading
    values = {key: [call[key] for call in calls if key in call] for call in calls for key in call}
    properties = {key: _schema(each) for key, each in values.items()}
    required = [key for key, each in values.items() if len(each) == len(calls)]
    parameters = pprint.pformat(
        {"type": "object", "properties": properties, "required": required}, width=100, sort_dicts=False
    )
    return _TOOL.replace("NAME_HERE", name).replace("SCHEMA_HERE", parameters) + reading


def _reading(calls: Sequence[Mapping[str, Any]]) -> str:
    """The functions `read` and `write` of a tool file, for calls that name images or boxes in a way of their own."""
    images, boxes = ([call[key] for call in calls if key in call] for key in (INDEX, BOX))
    name, corners = name_of(images), next(filter(None, map(corners_in, boxes)), ())
    text = next((each for each in boxes if isinstance(each, str)), None)
    names = "[*range(len(view.sizes))]"
    if name and (numbered := _NUMBERED.fullmatch(name)):
        names = f"[{numbered[1]!r} + str(number) for number in range(1, len(view.sizes) + 1)]"
    elif name:
        made = '[f"observation_{at}" for at in range(1, len(view.sizes) - view.given + 1)]'
        names = f"[{name!r}] * view.given + {made}"
    elif from_one(images):
        names = "[*range(1, len(view.sizes) + 1)]"
    elif not corners and text is None:
        return ""
    form = _NUMBER.sub("{}", text.replace("{", "{{").replace("}", "}}")) if text else ""
    read = _READ_TEXT if text else _READ_OBJECT if corners else ""
    write = _WRITE_TEXT if text else _WRITE_OBJECT if corners else ""
    whole = _READING.replace("READ_HERE", read).replace("WRITE_HERE", write).replace("NAMES_HERE", names)
    return whole.replace("CORNERS_HERE", repr(corners)).replace("FORM_HERE", repr(form))


def name_of(images: Sequence[Any]) -> str | None:
    """The first image's name, if calls name images by texts."""
    named = (each for each in images if isinstance(each, str) and 0 < len(each) <= _MAX_NAME)
    return next((each for each in named if "{" not in each and not box_of(each)), None)


def _schema(values: Sequence[Any]) -> dict[str, str]:
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
    then = f"call a tool or {answer}" if sample.tools else answer
    yield from _block("system", system)
    name = name_of([call[INDEX] for calls in sample.called.values() for call in calls if INDEX in call])
    numbered = _NUMBERED.fullmatch(name) if name else None
    yield from _block("first", ("{images}\n" if name else "") + f"{{question}}\n{think}, then {then}.")
    yield f"  image_line: {_flow(f'{numbered[1]}{{number}}' if numbered else name or '')}"
    result = f"{numbered[1]}{{count}}" if numbered else "observation_{number}"
    yield f"  after_image: {_flow(f'This is {result}. {_GO_ON}' if name else _GO_ON)}"


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
