"""Help that fits a terminal of 80 columns: one short line for each command and option."""

from collections.abc import Iterator
from typing import Any

import typer
from support.entry import Run

from virc_cli.main import build, every_command

MOST = 60
OF_TYPER = {"--install-completion", "--show-completion", "--help"}


def summaries(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every command and option, and its help."""
    yield path, (command.help or "").strip().partition("\n\n")[0]
    for parameter in command.params:
        if not (OF_TYPER & set(parameter.opts) or getattr(parameter, "hidden", False)):
            yield f"{path} {parameter.opts[-1]}", getattr(parameter, "help", None) or ""
    for name, inner in getattr(command, "commands", {}).items():
        yield from summaries(inner, f"{path} {name}")


def every_summary() -> dict[str, str]:
    return dict(summaries(typer.main.get_command(build(every_command())), "virc"))


def test_the_help_of_each_command_and_option_is_one_short_line() -> None:
    assert {place: text for place, text in every_summary().items() if "\n" in text or len(text) > MOST} == {}


def test_each_command_and_option_has_help() -> None:
    assert [place for place, text in every_summary().items() if not text] == []


def test_the_list_of_commands_cuts_no_line(virc_here: Run) -> None:
    for words in ((), ("data",), ("runs",), ("systems",), ("download", "--help"), ("env",), ("rewards",)):
        shown = virc_here(*words, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
        listed = shown.partition("\nCommands:\n")[2]
        assert not [line for line in listed.splitlines() if line.endswith("...")]
        assert all(len(line) <= 80 for line in shown.splitlines())
