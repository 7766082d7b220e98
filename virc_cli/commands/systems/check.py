"""`virc systems check`: what is wrong with a system's YAML, before anything else is there."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import Json

FAILURE: dict[str, object] = {"file": None, "faults": None}


def command(
    system: Annotated[
        str, typer.Argument(metavar="FILE|NAME", help="A system's YAML, or its name.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """List every fault of a system's YAML.

    Faults are unknown keys, wrong values, and stages and overlays that do not fit together. Nothing is
    started or fetched: weights and rows need not be there. Exit code 3 where there are any.

    Bases and released models that do not run in this process are no faults: a warning says how to use them.
    """
    import msgspec

    from virc.core.errors import ConfigError
    from virc.core.files import expanded
    from virc.systems import registry as systems
    from virc.training.system_check import MOST, check, not_in_process_errors

    file = expanded(system) if systems.is_path(system) else systems.get(system).file
    findings = check(file)
    output.know(file=str(file), faults=msgspec.to_builtins(findings))
    for found in () if as_json else findings:
        output.line(f"{file}:{found.line}: {found.message}" + (f"; {found.hint}" if found.hint else ""))
    if findings:
        count = f"{'at least ' * (len(findings) == MOST)}{len(findings)}"
        raise ConfigError(f"{file} has {count} fault{'s' * (len(findings) > 1)}")
    for refused in not_in_process_errors(file, Path.cwd()):
        output.warn(refused.message, refused.hint)
    if as_json:
        output.emit({"schema": "virc.systems.check/1", "file": str(file), "faults": [], "error": None})
    else:
        output.note(f"{file}: no fault found")
