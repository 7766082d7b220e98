"""`virc runs diagnose`: what is wrong with a run, why, and what to set."""

from pathlib import Path

from virc.core.errors import EngineError
from virc_cli.console import output
from virc_cli.console.options import Json, RunName
from virc_cli.console.tables import section

FAILURE: dict[str, object] = dict.fromkeys(("name", "healthy", "verdict", "signs", "causes", "looked_at"))


def command(name: RunName, as_json: Json = False) -> None:
    """Say what is wrong with a run, finished or running.

    Prints one verdict, at most three likely causes, each with the setting that answers it, and the metrics that were
    looked at. Exit code 7 if anything is wrong.
    """
    import msgspec

    from virc.runs import run as runs
    from virc.runs.status import number
    from virc.training.diagnosis import diagnose

    run = runs.find(Path.cwd(), name)
    found = diagnose(run)
    fields = {"name": run.name, **msgspec.to_builtins(found)}
    output.know(**fields)
    if not as_json:
        rows = [(metric, f"{number(first)} -> {number(last)}") for metric, (first, last) in found.looked_at.items()]
        output.lines([found.verdict, *section("other signs", list(found.signs.items())[1:])])
        for at, cause in enumerate(found.causes, 1):
            output.lines([f"{at}. {cause.says}", f"   seen: {cause.seen}", f"   try: {cause.answer}"])
        output.lines(section("looked at, in the first and the newest steps", rows))
    if not found.healthy:
        raise EngineError(f"{run.name} is not well", found.causes[0].answer if found.causes else None)
    if as_json:
        output.emit("virc.runs.diagnose/1", fields)
