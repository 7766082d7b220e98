"""`virc runs diagnose`: the signs that a run goes wrong."""

from pathlib import Path

from virc.core.errors import EngineError
from virc_cli.console import output
from virc_cli.console.options import Json, RunName
from virc_cli.console.tables import section

FAILURE: dict[str, object] = dict.fromkeys(("name", "healthy", "verdict", "signs"))


def command(name: RunName, as_json: Json = False) -> None:
    """Say what is wrong with a run, finished or running.

    Prints one verdict and the signs that its metrics show. Exit code 7 if anything is wrong.
    """
    from virc.runs import run as runs
    from virc.runs.status import ended
    from virc.stages.sft import SIGNS
    from virc.training import health

    run = runs.find(Path.cwd(), name)
    state, found = runs.state(run), health.current(run)
    failed = state.progress in ("failed", "died")
    verdict = f"{run.name} shows none of these signs: {', '.join(SIGNS[runs.info(run).kind])}"
    if failed:
        verdict = ended(run, state)
    elif found:
        verdict = f"{run.name} has {len(found)} sign{'s' * (len(found) > 1)} that it goes wrong"
    fields = {"name": run.name, "healthy": not found and not failed, "verdict": verdict, "signs": found}
    output.know(**fields)
    if not as_json:
        output.lines([verdict, *section("signs", list(found.items()))])
    if found or failed:
        raise EngineError(f"{run.name} is not well", f"see {run.log(state.attempt)}" if failed else None)
    if as_json:
        output.emit("virc.runs.diagnose/1", fields)
