"""`virc systems show`: what a system is and what is missing, or every setting of one of its stages."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc.core.errors import UsageError
from virc_cli.console import completion, output
from virc_cli.console.options import Json, Set, SystemArgument, With, names_of
from virc_cli.console.tables import section, table, value_text, words

if TYPE_CHECKING:
    from virc.stages.resolve import Resolved
    from virc.systems.registry import System

_PICTURE = (1024, 768)  # px of the question that is shown as asked
FAILURE: dict[str, object] = dict.fromkeys(
    "name about state published file pipeline coordinates images tools chat_protocol sampling texts limits sent "
    "example_call models judges datasets protocol_source stages rounds overlays reward reported assumed notes "
    "stage".split()
)
_SCHEMA = "virc.systems.show/1"
_STAGE = typer.Option(metavar="STAGE", help="Every setting of this stage instead.", autocompletion=completion.stages)


def command(
    system: SystemArgument,
    stage: Annotated[str | None, _STAGE] = None,
    with_: With = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print what a system is, or every setting of a stage.

    Without --stage: models, chat protocol, prompts, stages and overlays, how far it is supported, and what
    is missing. With it: each setting and where it comes from, and what is changed from the published script.
    """
    import msgspec

    from virc.stages import resolve as stages
    from virc.systems import published, support
    from virc.systems import registry as systems

    listed, lines = published.rows().get(system), _lines
    if listed and system not in systems.discover() and stage is None:
        fields = {"name": listed.name, "about": listed.about, "state": str(support.of(listed)), "published": listed}
        output.result(as_json, _SCHEMA, fields := msgspec.to_builtins(FAILURE | fields), _lines(fields))
        return
    found = systems.get(system)
    if stage is None and (with_ or set_):
        raise UsageError("--with and --set choose settings of a stage", f"--stage {next(iter(found.stages), 'STAGE')}")
    fields = msgspec.to_builtins(_fields(found))
    output.know(**fields)
    if stage:
        fields["stage"] = _stage(stages.resolve(found, stage, names_of(with_), assignments=set_ or ()))
        lines = _stage_lines
    output.result(as_json, _SCHEMA, fields, lines(fields))


def _fields(system: "System") -> dict[str, Any]:
    from virc.solving import reading
    from virc.stages import resolve
    from virc.systems import published, support, texts

    listed, sources = published.rows().get(system.name), texts.sources(system.file.parent)
    fields = {name: getattr(system, name, None) for name in FAILURE}
    fields |= {"state": str(support.of_system(system, listed)), "published": listed, "file": str(system.file)}
    fields |= {"texts": sources, "assumed": [str(each) for each in system.assumed], **reading.told(system, _PICTURE)}
    if not all(each["here"] for each in sources):
        output.note(f"shown in our own words, until virc download texts --system {system.called}")
    stages = fields["stages"] = dict[str, Any]()
    for name, stage in system.stages.items():
        settings, _ = resolve.merged(resolve.of_system(system, name))
        shown = {key: settings.get(key) for key in ("base", "after", "data", "variant")}
        stages[name] = {"kind": stage.kind, **shown, "differs": stage.differs, "notes": stage.notes}
    return fields


def _stage(resolved: "Resolved") -> dict[str, Any]:
    import msgspec

    from virc.engines import registry as engines
    from virc.stages import resolve as stages

    settings = (resolved.config, resolved.published, resolved.origins, resolved.name)
    changed = engines.changes(resolved.kind, *settings) if resolved.published else ()
    for fault in engines.faults(resolved.kind, resolved.config):
        output.warn(fault.message, fault.hint)
    rows = {name: {"value": value, "from": origin} for name, value, origin in stages.rows(resolved)}
    shown = {"name": resolved.stage, "overlays": resolved.overlays, "settings": rows, "notes": resolved.notes}
    return {**shown, "published": resolved.published, "changed": msgspec.to_builtins(changed)}


def _stage_lines(fields: Mapping[str, Any]) -> Iterator[str]:
    stage = fields["stage"]
    yield from table([(name, value_text(row["value"]), row["from"]) for name, row in stage["settings"].items()])
    yield from (f"note: {note}" for note in stage["notes"])
    rows = [(row["key"], value_text(row["published"]), value_text(row["ours"]), row["why"]) for row in stage["changed"]]
    if stage["published"]:
        same = len(stage["published"].keys() - {row["key"] for row in stage["changed"]})
        title = f"changed from published ({same} of {len(stage['published'])} keys are the same)"
        yield ""
        yield from section(title, [("key", "published", "here", "why"), *rows])


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    yield ": ".join(filter(None, (fields["name"], fields["about"])))
    for name, value in fields.items():
        if name in ("assumed", "notes"):
            yield from (f"note: {each}" if name == "notes" else each for each in value or ())
        elif name == "sent":
            yield from (f"told as {each['role']}\n{each['text']}" for each in value or ())
        elif name == "stages":
            for stage, each in (value or {}).items():
                yield f"stage {stage}: {words({**each, 'differs': None, 'notes': None})}"
                yield from (f"    {head}: {text}" for head in ("differs", "notes") for text in each[head])
        elif isinstance(value, Mapping) and name != "chat_protocol":
            yield from section(name, [(key, text) for key, each in value.items() if (text := words(each))])
        elif value and name not in ("name", "about"):
            yield f"{name:<12} {words([*value] if isinstance(value, Mapping) else value)}"
