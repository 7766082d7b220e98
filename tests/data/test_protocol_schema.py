"""The format of `virc_protocol.json`: its JSON schema, and the page about it."""

import json
import re
from pathlib import Path

import protocol_page
import pytest
from jsonschema import Draft202012Validator
from support.called import virc

from virc.core.errors import ConfigError
from virc.data.protocol.schema import schema
from virc.models.chat_protocol import of_system, read_protocol, written
from virc.reasoning.protocol import FILE_NAME, Protocol, own_protocol
from virc.systems import registry as systems
from virc.tools import registry as tools


def checks(value: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(value)]


def test_the_schema_is_one_and_is_what_the_command_prints() -> None:
    Draft202012Validator.check_schema(schema())
    assert (schema()["title"], schema()["$schema"]) == ("virc.protocol/1", Draft202012Validator.META_SCHEMA["$id"])
    assert schema()["description"].startswith("The chat protocol of a model, the file virc_protocol.json: ")
    done = virc("data", "show", "--schema", "protocol")
    assert (done.code, json.loads(done.out)) == (0, json.loads(json.dumps(schema())))


def test_the_protocol_of_every_system_is_valid() -> None:
    pytest.importorskip("virc_extras")
    found = {name: checks(json.loads(written(of_system(each)))) for name, each in systems.discover().items()}
    assert [name for name, faults in found.items() if faults] == []


FORM = {"open": "[", "close": "]"}
WRONG: dict[str, dict[str, object]] = {
    "an unknown field": {"afterimage": "x"},
    "a box of another form": {"box": "polygon"},
    "a hot temperature": {"sampling": {"temperature": 2.5}},
    "three marks": {"grammar": {"answer": ["<a>", "<b>", "<c>"]}},
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


def test_the_example_of_the_page_is_a_valid_chat_protocol(tmp_path: Path) -> None:
    page = protocol_page.PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert checks(json.loads(example)) == []
    (tmp_path / FILE_NAME).write_text(example, encoding="utf-8")
    protocol: Protocol = read_protocol(tmp_path / FILE_NAME)
    listed = re.findall(r"<tools>\n(.*)\n</tools>", protocol.system)
    assert [json.loads(each)["function"]["name"] for each in listed] == list(protocol.tools)
