"""The format of `virc_protocol.json`: its JSON schema, and the page about it."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import protocol_page
import pytest
from jsonschema import Draft202012Validator
from support.called import virc

from virc.core.errors import ConfigError
from virc.data.protocol.schema import CLASSES, descriptions, schema
from virc.models.chat_protocol import of_system, read_protocol, written
from virc.reasoning.protocol import FILE_NAME, Coordinates, Protocol, fill, own_protocol
from virc.systems import registry as systems
from virc.tools import registry as tools

UNITS: tuple[Coordinates, ...] = ("pixel", "permille", "thousand", "unit", "original")


def checks(value: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(value)]


def parts() -> dict[str, Any]:
    whole = schema()
    return {CLASSES[0].__name__: whole, **whole["$defs"]}


def test_the_schema_is_one_and_is_what_the_command_prints() -> None:
    Draft202012Validator.check_schema(schema())
    assert (schema()["title"], schema()["$schema"]) == ("virc.protocol/1", Draft202012Validator.META_SCHEMA["$id"])
    assert schema()["description"].startswith("The chat protocol of a model, the file virc_protocol.json: ")
    done = virc("data", "show", "--schema", "protocol")
    assert (done.code, json.loads(done.out)) == (0, json.loads(json.dumps(schema())))


def test_every_field_and_every_object_has_a_description() -> None:
    assert parts().keys() == {kind.__name__ for kind in CLASSES}
    for name, part in parts().items():
        assert part["description"], name
        lacking = [field for field, value in part["properties"].items() if not value.get("description")]
        assert not lacking, f"the docstring of {name} has no `Args:` of {lacking}"


@pytest.mark.parametrize("kind", CLASSES)
def test_descriptions_are_whole_sentences_of_the_docstring_and_of_real_fields(kind: type) -> None:
    found = descriptions(kind)
    assert found.keys() == set(kind.__struct_fields__)  # type: ignore[attr-defined]
    words = " ".join((kind.__doc__ or "").split())
    for text in found.values():
        assert len(text) > 10
        assert text.partition(" null:")[0][:60].rstrip() in re.sub(r" \(D\d+\)", "", words)
        assert not re.search(r"Raises:|Args:|D\d\d|None", text)


def test_a_class_whose_docstring_leaves_out_a_field_does_not_get_its_description() -> None:
    class Lacking(msgspec.Struct):
        """Two fields.

        Args:
            one, two: both
                of them. None: neither.
            three: alone.

        Raises:
            ValueError: never.
        """

        one: int
        two: int
        three: int
        four: int

    both = "both of them. null: neither"
    assert descriptions(Lacking) == {"one": both, "two": both, "three": "alone"}


def test_descriptions_name_every_placeholder_of_a_template() -> None:
    fields = schema()["properties"]
    for name, placeholders in {
        "first": ("images", "question"),
        "image_line": ("index", "width", "height"),
        "after_image": ("index", "width", "height", "question"),
    }.items():
        assert all(f"{{{each}}}" in fields[name]["description"] for each in placeholders), name


@pytest.mark.parametrize("unit", UNITS)
def test_our_own_protocol_is_valid(unit: Coordinates) -> None:
    assert checks(json.loads(written(own_protocol(tools.schemas(tools.DEFAULT, unit), unit)))) == []


@pytest.mark.parametrize("name", sorted(systems.discover()))
def test_the_protocol_of_every_system_is_valid(name: str) -> None:
    assert checks(json.loads(written(of_system(systems.discover()[name]).protocol))) == []


def test_every_file_in_the_package_is_valid() -> None:
    package = Path(str(files("virc")))
    found = sorted(package.rglob(FILE_NAME))
    assert package / "models" / "tiny" / FILE_NAME in found
    for file in found:
        assert checks(json.loads(file.read_text(encoding="utf-8"))) == [], file


FORM = {"open": "[", "close": "]"}
WRONG: dict[str, dict[str, object]] = {
    "an unknown field": {"afterimage": "x"},
    "a template that is no text": {"first": 3},
    "a unit that there is not": {"coordinates": "inches"},
    "a box of another form": {"box": "polygon"},
    "tools as text": {"tools": "crop_image"},
    "another format": {"schema": "virc.protocol/2"},
    "a hot temperature": {"sampling": {"temperature": 2.5}},
    "no penalty at all": {"sampling": {"repetition_penalty": 0}},
    "one mark": {"grammar": {"think": ["<think>"]}},
    "three marks": {"grammar": {"answer": ["<a>", "<b>", "<c>"]}},
    "an unknown body": {"grammar": {"calls": [{**FORM, "body": "xml"}]}},
    "an unknown part of a form": {"grammar": {"calls": [{**FORM, "shut": "]"}]}},
    "a form with a field that there is not": {"grammar": {"calls": [{**FORM, "index_from": 1}]}},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_protocol_is_refused_by_the_schema_and_by_the_reader(case: str, tmp_path: Path) -> None:
    right = json.loads(written(own_protocol(tools.schemas(tools.DEFAULT))))
    file = tmp_path / FILE_NAME
    file.write_text(json.dumps(right | WRONG[case]))
    assert len(checks(right | WRONG[case])) == 1
    with pytest.raises(ConfigError):
        read_protocol(file)


@pytest.mark.parametrize("field", ["system", "first", "image_line", "after_image", "after_scale"])
def test_a_protocol_that_lacks_a_text_is_refused_by_both(field: str, tmp_path: Path) -> None:
    lacking = json.loads(written(own_protocol(tools.schemas(tools.DEFAULT))))
    del lacking[field]
    file = tmp_path / FILE_NAME
    file.write_text(json.dumps(lacking))
    assert checks(lacking) == [f"'{field}' is a required property"]
    with pytest.raises(ConfigError):
        read_protocol(file)


def test_the_example_of_the_page_is_valid_and_makes_the_turn_that_it_shows(tmp_path: Path) -> None:
    page = protocol_page.PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (turn,) = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    assert checks(json.loads(example)) == []
    (tmp_path / FILE_NAME).write_text(example, encoding="utf-8")
    protocol: Protocol = read_protocol(tmp_path / FILE_NAME)
    line = fill(protocol.image_line, index=0, width=336, height=252)
    assert fill(protocol.first, images=line, question="What is the angle at H?") == turn
    listed = re.findall(r"<tools>\n(.*)\n</tools>", protocol.system)
    assert [json.loads(each)["function"]["name"] for each in listed] == list(protocol.tools)
