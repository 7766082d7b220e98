"""What an agent of a programmer is told of virc; `tests/docs/test_pages.py` runs its commands."""

import re
from pathlib import Path

import yaml
from support.called import virc

from virc_cli.console.output import EXIT_CODES
from virc_extras.skill.command import SKILL


def test_it_is_printed_and_copied(tmp_path: Path) -> None:
    printed = virc("skill")
    done = virc("skill", "--to", tmp_path / "skills")
    file = tmp_path / "skills" / "virc" / "SKILL.md"
    assert (printed.code, done.code, done.out) == (0, 0, f"{file}\n")
    assert file.read_text() == printed.out
    assert printed.out.startswith(SKILL.read_text())


def test_it_is_written_over_where_nobody_edited_it(tmp_path: Path) -> None:
    file = Path(virc("skill", "--to", tmp_path).out.strip())
    assert virc("skill", "--to", tmp_path).code == 0
    file.write_text(file.read_text().replace("Use virc", "Use virc, please"))
    edited = virc("skill", "--to", tmp_path)
    assert (edited.code, f"{file} was edited" in edited.err, "please" in file.read_text()) == (2, True, True)


def test_it_is_a_skill_by_the_format_of_agent_skills() -> None:
    text = SKILL.read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head.keys() == {"name", "description"}
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert 1 <= len(head["description"]) <= 1024
    assert len(text.splitlines()) <= 150


def test_it_explains_every_exit_code_of_an_error() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d) \|", SKILL.read_text(), re.MULTILINE)}
    assert explained == {code for code, _ in EXIT_CODES.values() if code < 100}
