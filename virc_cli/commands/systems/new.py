"""`virc systems new`: a system to begin with."""

import shlex
from pathlib import Path
from typing import Annotated

from virc_cli.console import output
from virc_cli.console.options import argument, option


def command(
    name: Annotated[str, argument("NAME", "What it is called.")],
    to: Annotated[Path | None, option("FILE.yaml", "Its new file; default: NAME.yaml.")] = None,
) -> None:
    """Create a system's YAML, and a row to try it on.

    The YAML has an example of every section and what that costs, and trains the embedded model. The row, in NAME.jsonl
    next to it, is one that the YAML's layout reads.
    """
    from virc.systems import files

    file = to or Path(f"{name}.yaml")
    chosen = files.checked_name(name, file)
    row = file.with_suffix(".jsonl")
    files.write(file, files.starting(chosen))
    files.write(row, f"{files.ROW}\n")
    place = shlex.quote(str(file) if file.is_absolute() else f"./{file}")
    output.note(f"{file} is the system {chosen}; virc train {place} --stage instruct trains its first stage")
    output.note(f"{row} is a row for it; virc rewards try {place} --data {shlex.quote(str(row))} scores its answer")
