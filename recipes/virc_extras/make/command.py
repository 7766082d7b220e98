"""`virc data make`: rows are made of rows by an operator, or by a list of some."""

from typing import Annotated

from virc.config.options import AskOptions
from virc.core.errors import UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.asking import Asked, asking
from virc_cli.console.options import argument, option
from virc_cli.console.tables import folded

FAILURE: dict[str, object] = dict.fromkeys(
    "to operator rows kept made others left_out left_out_file replies tokens seconds operators".split()
)
EPILOG = """\b
virc data make ls
virc data make select rows.jsonl --to hard.jsonl --set column=pass_rate --set max=0.5
virc data make steps.yaml rows.jsonl --to new.jsonl --endpoint http://localhost:8000/v1
"""


@asking(AskOptions, model=options.Model)
def command(
    asked: Asked,
    operator: Annotated[
        str,
        argument(
            "OPERATOR|FILE.yaml",
            "What is done; `ls` lists all, `ls NAME` tells of one.",
            autocompletion=completion.names("virc_extras.make.registry:names"),
        ),
    ],
    rows: Annotated[list[str] | None, argument("ROWS...", "Files of rows, read one after the other.")] = None,
    to: Annotated[str | None, option("NEW.jsonl", "Write the rows here; a rerun continues.")] = None,
    sets: Annotated[list[str] | None, option("KEY=VALUE", "An option of the operator; repeatable.", "--set")] = None,
    role: options.Role = None,
    as_json: options.Json = False,
    trust_rows: options.TrustRows = False,
    concurrency: options.Concurrency = None,
    verbose: options.Verbose = False,
) -> None:
    """Make rows of rows: filter, order, mix, teach, corrupt.

    FILE.yaml is a list of operators with their options, each of which gets the rows of the one before it.

    All columns pass through, but of contrast, hide, jigsaw, position and rotation, which ask
    something else. Names of pictures stay valid next to NEW. NEW is there whole or not at all. Next to it,
    NEW.left_out says which rows were left out by which rule. The same command continues after a stop, even after kill
    -9, and asks no model the same twice.
    """
    from virc.rewards.rollout_scorer import maker_of
    from virc.solving.setup import set_up
    from virc_extras.make.run import make

    if operator == "ls":
        _list(rows or [], as_json)
        return
    if not rows or to is None:
        raise UsageError("ROWS or --to is missing", f"virc data make {operator} ROWS --to NEW.jsonl")
    if asked.max_tokens is not None:
        raise UsageError("--max-tokens belongs to the options of an operator", "--set max_tokens=1024")
    settings = [*(sets or ()), *([f"seed={asked.seed}"] if asked.seed else ())]
    setup = set_up(asked.flags)
    roles = options.named_roles("operator", role or (), {})
    output.know(to=to, operator=operator)
    with events.printed(asked.quiet, verbose) as report:
        fields = make(
            operator, rows, to, settings, setup=setup, roles=roles, at_once=concurrency, report=report,
            trust_rows=trust_rows,
            rewards=lambda system: maker_of(system, None, None, {}),
        )  # fmt: skip
    output.result(as_json, "virc.data.make/1", {**FAILURE, **fields}, [str(fields["to"])])


def _list(names: list[str], as_json: bool) -> None:

    from virc_extras.make import registry

    found = [registry.get(name) for name in names or registry.names()]
    if as_json:
        listed = [
            {
                "name": each.name,
                "about": each.title,
                "options": [
                    {"name": name, "about": about, "default": default}
                    for name, (about, default) in registry.described(each).items()
                ],
            }
            for each in found
        ]
        output.emit("virc.data.make/1", {**FAILURE, "operators": listed})
        return
    if not names:
        output.lines(
            folded([("operator", "what it does"), *((each.name, each.title) for each in found)], output.stdout())
        )
    for each in found if names else ():
        output.line(f"{each.name}: {each.title}")
        options = registry.described(each).items()
        rows = [(name, _default(default), about or "-") for name, (about, default) in options]
        output.lines(folded([("option", "default", "what it is"), *rows], output.stdout()))


def _default(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
