"""`virc systems new`: a system, a reward or a tool to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import output


def command(
    what: Annotated[str, typer.Argument(metavar="[reward|tool] NAME", help="What it is called.", show_default=False)],
    name: Annotated[str | None, typer.Argument(hidden=True)] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="A system's new file; default: NAME.yaml.")
    ] = None,
) -> None:
    """Create the files of a system, a reward or a tool.

    The YAML has an example of every section and what that costs, and trains the embedded model.
    """
    if name is not None:
        _own(what, name, to)
        return
    from virc.systems import files

    file = to or Path(f"{what}.yaml")
    chosen = files.checked_name(what, file)
    files.write(file, files.starting(chosen))
    place = file if file.is_absolute() else f"./{file}"
    output.note(f"{file} is the system {chosen}; virc train {place} --stage instruct trains its first stage")


def _own(kind: str, name: str, to: Path | None) -> None:
    from virc.core.errors import UsageError
    from virc.core.text import did_you_mean
    from virc.rewards import scaffold

    if kind not in scaffold.KINDS:
        hint = did_you_mean(kind, scaffold.KINDS, "virc systems new NAME begins a system")
        raise UsageError(f"{kind[:60]!r} is neither reward nor tool", hint)
    if to is not None:
        raise UsageError("--to is for systems", f"{name}.py is written here")
    code, test = scaffold.write(kind, name, Path())
    named = f"reward: {{total: ./{code}}}" if kind == "reward" else f"tools: [crop_image, ./{code}]"
    output.note(f"{code} is the {kind} {name}, {test} its test; a system's YAML beside it names it: {named}")
