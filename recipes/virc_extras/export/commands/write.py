"""`virc export SYSTEM --to TARGET DIR`: a package of a system for another project's trainer or evaluator."""

from pathlib import Path
from typing import Annotated, Literal

from virc_cli.console import output
from virc_cli.console.options import Json, Set, SystemArgument, With, argument, choice, names_of, option

FAILURE: dict[str, object] = dict.fromkeys("system target to digest stage rows".split())
EPILOG = """\b
virc export deepeyes --to verifiers deepeyes-env --data rows.parquet
virc export mine.yaml --to inspect mine-eval
virc export ls                      which system can be exported to which
"""


def command(
    system: SystemArgument,
    folder: Annotated[Path, argument("DIR", "A new folder.")],
    target: Annotated[
        Literal["verifiers", "openenv", "inspect", "trl", "nemo-gym"],
        choice("Whose package it is.", "--to", show_default=False),
    ],
    data: Annotated[Path | None, option("ROWS", "Problems that go into it, in any format.", show_default=False)] = None,
    stage: Annotated[str | None, option("NAME", "Stage of RL that says what is rewarded. Default: the first.")] = None,
    base: Annotated[str | None, option("MODEL", "Model on whose patch grid pictures are shown.")] = None,
    overlays: With = None,
    assignments: Set = None,
    as_json: Json = False,
) -> None:
    """Write a system as a package for others' trainers.

    The package imports virc, holds the system's digest, and has a README with the commands that use it. Messages, crops
    and rewards are those of `virc solve` and `virc rewards try`. --with and --set change the stage's reward, judge and
    turns, as in `virc train`.
    """
    from virc.systems import registry as systems
    from virc.systems import texts
    from virc_extras.export.package import Wanted, without_judge, write

    chosen = systems.get(system)
    wanted = Wanted(target, folder, data, stage, names_of(overlays), tuple(assignments or ()), base, Path.cwd())
    settings = write(chosen, wanted)
    if lacking := without_judge(chosen, settings, data):
        output.warn(lacking, "--set reward.judge.endpoint=URL")
    if texts.NO_LICENSE in (folder / "README.md").read_text(encoding="utf-8"):
        output.warn("it holds texts that only their authors may pass on, as they state no license", "--own-words")
    known = {"system": chosen.name, "target": target, "to": str(folder)}
    made = {"digest": settings.digest, "stage": settings.stage, "rows": settings.rows}
    if not as_json:
        output.note(f"{folder}/README.md has the commands that use it")
    output.result(as_json, "virc.export/1", {**known, **made}, [str(folder)])
