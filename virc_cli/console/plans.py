"""A plan as a dry run shows it: exactly what a process would get, but for secrets."""

from collections.abc import Mapping
from typing import Any

from virc.core.plan import Plan
from virc_cli.console import output
from virc_cli.console.tables import table, value_text

_SECRET = ("KEY", "TOKEN", "PASSWORD")


def show(plan: Plan) -> None:
    output.line("# command")
    output.line(" \\\n  ".join(plan.step.argv))
    output.line("\n# environment; an empty value takes the variable away")
    for name, value in _shown(plan.step.env).items():
        output.line(f"{name}={value}")
    for path, text in plan.files.items():
        output.line(f"\n# {path}")
        output.line(text.rstrip("\n"))
    if plan.changes:
        output.line("\n# changed from published")
        rows = [(each.key, value_text(each.published), value_text(each.ours), each.why) for each in plan.changes]
        output.lines(table([("key", "published", "here", "why"), *rows]))


def fields(plan: Plan) -> dict[str, Any]:
    return {"command": list(plan.step.argv), "environment": _shown(plan.step.env), "files": dict(plan.files)}


def _shown(env: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if value and name.endswith(_SECRET) else value for name, value in env.items()}
