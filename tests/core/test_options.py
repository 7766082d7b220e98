"""Options in errors: marked where they are raised, spelled by the interface that shows them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tables import cases_of, each_case

from virc.core.errors import DataError, at_place, error_of, fields_of, sent_fields
from virc.core.events import Reporter
from virc.core.options import in_fields, in_python, in_yaml, on_command_line, shown_by, spelled, spelled_hint

CASES = cases_of(__file__)

ROOT = Path(__file__).parents[2] / "recipes"
ROOMS = sorted(each.parent for package in ("virc", "virc_extras") for each in (ROOT / package).glob("*/__init__.py"))
_MARKED = re.compile("«[^»]*»")
_COMMAND = re.compile(r"\bvirc [a-z]+[^;:,`)]*")
_BY_HAND = re.compile(
    r"(?<![\w-])--[a-z]|\b(?:VIRC_(?:API_KEY|DEBUG|ENDPOINT|EXTRA_BODY|HEADERS|MODEL)|OPENAI_API_KEY)\b"
)
_OF_OTHERS = re.compile(
    r"--(?:max-model-len|mmproj|limit-mm-per-prompt|force-reinstall|client\.base-url|decrypt|password|to picture\.png)"
)
"""Options of servers, pip, sips and the like in our hints."""
_SHOWN_BY = re.compile(r"(?:Error|Fault|errors_as|at_place|\.warn|\.note)$")


@each_case(("text", "command_line", "python", "yaml"), CASES["each_interface_has_its_own_words"])
def test_each_interface_has_its_own_words(text: str, command_line: str, python: str | None, yaml: str) -> None:
    assert spelled_hint(text, on_command_line) == command_line
    assert spelled_hint(text, in_python) == python
    assert spelled_hint(text, in_yaml) == (command_line if yaml == "..." else yaml)


def test_clients_read_their_fields_and_no_hint_with_another_option() -> None:
    fields = in_fields("seed", samples="n")
    assert spelled_hint("«--samples 2»; «--seed»; «--device cpu»", fields) == "n 2; seed"
    assert spelled("«--max-pixels 9» is «--samples 2»", fields) == "max pixels 9 is n 2"


def test_an_error_is_spelled_when_it_is_shown() -> None:
    with pytest.raises(DataError) as raised, at_place("row 3"):
        raise DataError("«--page 9» is over 3", "leave «--page» out")
    assert str(raised.value) == "row 3: --page 9 is over 3"
    with shown_by(in_python):
        assert (str(raised.value), raised.value.hint) == ("row 3: page=9 is over 3", "leave page= out")
        assert fields_of(raised.value)["hint"] == "leave page= out"
    with shown_by(in_python):  # as in a process of ours that a command started
        sent = sent_fields(raised.value)
    assert error_of(sent).hint == "leave --page out"
    assert raised.value.spelled_by(in_fields(page="sheet")) == ("row 3: sheet 9 is over 3", "leave sheet out")


def test_warnings_and_notes_are_spelled() -> None:
    said = list[tuple[str, str | None]]()
    report = Reporter(lambda event: said.append((event.text, event.hint)))
    with shown_by(in_python):
        report.warn("slow", "«--device cuda»")
        report.note("«--seed 1» is used")
    assert said == [("slow", "device='cuda'"), ("seed=1 is used", None)]


@pytest.mark.parametrize("room", ROOMS, ids=[f"{each.parent.name}/{each.name}" for each in ROOMS])
def test_no_error_spells_an_option_or_a_variable_of_commands_by_hand(room: Path) -> None:
    found = [fault for file in sorted(room.rglob("*.py")) for fault in _by_hand(file)]
    assert found == [], "\n".join(found)


def _by_hand(file: Path) -> Iterator[str]:
    if file.name == "command.py" or "commands" in file.parts or "virc_cli" in (text := file.read_text()):
        return  # of the command line
    if not _BY_HAND.search(_MARKED.sub("", text)):
        return
    tree = ast.parse(text)
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                assigned.setdefault(_name(target), []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _SHOWN_BY.search(_name(node.func)):
            for given in (*node.args, *(each.value for each in node.keywords)):
                for line, shown in _texts(given, assigned, set()):
                    bare = _OF_OTHERS.sub("", _COMMAND.sub("", _MARKED.sub("", shown)))
                    if _BY_HAND.search(bare) and not shown.startswith(" --"):  # the rest of a command
                        yield f"{file}:{line}: {shown}"


def _texts(node: ast.AST, assigned: dict[str, list[ast.expr]], seen: set[str]) -> Iterator[tuple[int, str]]:
    """The texts that a value is made of, also those of the names in it; of an f-string without what is filled in."""
    match node:
        case ast.JoinedStr():
            parts = (each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)
            yield node.lineno, "".join(map(str, parts))
        case ast.Constant(value=str(text)):
            yield node.lineno, text
        case ast.Name(id=name) if name not in seen:
            for value in assigned.get(name, ()):
                yield from _texts(value, assigned, {*seen, name})
        case ast.Call():
            pass  # of its own room
        case _:
            for inner in ast.iter_child_nodes(node):
                yield from _texts(inner, assigned, seen)


def _name(function: ast.expr) -> str:
    return f".{function.attr}" if isinstance(function, ast.Attribute) else getattr(function, "id", "")
