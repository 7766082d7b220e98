"""`virc systems new`: a system, a reward or a tool to begin with."""

import os
from pathlib import Path
from typing import Annotated

import typer

from virc.core.errors import UsageError
from virc.core.text import did_you_mean
from virc_cli.console import output
from virc_cli.console.options import Replies, argument, option
from virc_cli.console.replies import asked, replies_of


def command(
    what: Annotated[str, argument("[reward|tool] NAME", "What it is called.")],
    name: Annotated[str | None, typer.Argument(hidden=True)] = None,
    to: Annotated[Path | None, option("FILE.yaml", "A system's new file; default: NAME.yaml.")] = None,
    reply: Replies = None,
) -> None:
    """Create the files of a system, a reward or a tool.

    The YAML has an example of every section and what that costs, and trains the embedded model.

    With --reply, or replies pasted on the terminal: it has the chat protocol that reads them, its guesses as comments.
    One reply should call a tool, one should answer.
    """
    if name is not None:
        _own(what, name, to, reply)
        return
    from virc.systems import files

    file = to or Path(f"{what}.yaml")
    chosen = files.checked_name(what, file)
    place = file if file.is_absolute() else f"./{file}"
    replies = replies_of(reply) or asked()
    if replies:
        _from_replies(replies, chosen, file, place)
        return
    files.write(file, files.starting(chosen))
    output.note(f"{file} is the system {chosen}; virc train {place} --stage instruct trains its first stage")


def _from_replies(replies: list[str], name: str, file: Path, place: Path | str) -> None:
    from virc.systems import files
    from virc.systems.samples.find import found
    from virc.systems.samples.writing import tool_of

    sample = found(replies)
    files.write(file, files.sampled(name, sample))
    for tool, calls in sample.called.items():
        beside = file.with_name(f"{tool}.py")
        if tool not in sample.tools and not os.path.lexists(beside):
            files.write(beside, tool_of(tool, calls))
    size = f" --size {sample.size}" if sample.size else ""
    for note in sample.notes:
        output.note(f"- {note}")
    for number, fault in sample.unread.items():
        output.warn(f"reply {number} is not read by it: {fault}", f"the page *Grammars* shows each form; edit {file}")
    output.note(
        f"{file} is the system {name}; virc systems check {place}{size} --reply TEXT shows how it reads a reply"
    )


def _own(kind: str, name: str, to: Path | None, reply: list[str] | None) -> None:
    from virc.rewards import scaffold

    if kind not in scaffold.KINDS:
        hint = did_you_mean(kind, scaffold.KINDS, "virc systems new NAME begins a system")
        raise UsageError(f"{kind[:60]!r} is neither reward nor tool", hint)
    for named, given in (("--to", to), ("--reply", reply)):
        if given is not None:
            raise UsageError(f"{named} is for systems", f"{name}.py is written here")
    code, test = scaffold.write(kind, name, Path())
    used = f"reward: {{total: ./{code}}}" if kind == "reward" else f"tools: [crop_image, ./{code}]"
    output.note(f"{code} is the {kind} {name}, {test} its test; a system's YAML next to it names it: {used}")
