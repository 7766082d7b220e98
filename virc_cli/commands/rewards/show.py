"""`virc rewards show`: what a system rewards, and what its judge is asked."""

from collections.abc import Iterator
from typing import Any

from virc_cli.console import output
from virc_cli.console.options import Json, SystemArgument
from virc_cli.console.tables import table

FAILURE: dict[str, object] = dict.fromkeys("system total terms weights group strict quirks judge questions".split())


def command(system: SystemArgument, as_json: Json = False) -> None:
    """Show a system's reward, and what its judge is asked.

    A YAML file with texts under these names replaces them: `reward: {judge: {questions: ./FILE.yaml}}`.
    """
    from virc.rewards.shown import fields_of
    from virc.systems import registry as systems

    fields = fields_of(systems.get(system))
    output.result(as_json, "virc.rewards.show/1", fields, _lines(fields))


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    judge = fields["judge"]
    rows = [("total", fields["total"]["name"], fields["total"]["about"])]
    rows += [("term", each["name"], each["about"]) for each in fields["terms"]]
    rows += [("weight", name, f"{weight:g}") for name, weight in fields["weights"].items()]
    rows += [("group", name, f"{weight:g}") for name, weight in fields["group"].items()]
    rows += [("strict", fields["strict"], "whose checks decide what is well-formed")]
    rows += [("quirk", name, about) for name, about in fields["quirks"].items()]
    if fields["questions"]:
        rows += [("judge", judge["endpoint"] or "none", judge["model"] or "")]
    yield from table(rows)
    for name, asked in fields["questions"].items():
        yield f"\n# the judge's `{name}`: {asked['words']}"
        yield asked["text"].rstrip("\n")
