"""`virc systems show`: what a system is and what is missing, or every setting of one of its stages."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc_cli.console import completion, output
from virc_cli.console.options import Json, Set, SystemArgument, With, names_of
from virc_cli.console.tables import section

if TYPE_CHECKING:
    from virc.stages.resolve import Resolved
    from virc.systems.published import Row
    from virc.systems.registry import System

SIZE = (1024, 768)
"""(width, height) in pixels of the picture of the question that is shown as asked."""

FAILURE: dict[str, object] = dict.fromkeys(
    "name about state published file coordinates images models judges "
    "datasets protocol_source tools chat_protocol limits sent example_call sampling stages rounds overlays reward "
    "reported assumed notes stage pipeline texts".split()
)
_OF_SYSTEM = (
    "name about coordinates images models judges datasets protocol_source tools chat_protocol sampling rounds "
    "overlays reward reported assumed notes pipeline".split()
)
"""Fields that the printed object has as the system has them."""


def command(
    system: SystemArgument,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Show every setting of this stage instead.", autocompletion=completion.stages
        ),
    ] = None,
    with_: With = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print what a system is, or every setting of a stage.

    Without --stage: models, chat protocol, stages and overlays, how far it is supported, and what it needs of this
    package. With it: each setting and where it comes from, and what is changed from the published script.
    """
    from virc.core.errors import UsageError
    from virc.stages import resolve as stages
    from virc.systems import published as listed
    from virc.systems import registry as systems

    published = listed.rows().get(system)
    if published and system not in systems.discover() and stage is None:
        _show_listed(published, as_json)
        return
    found = systems.get(system)
    if stage is None and (with_ or set_):
        raise UsageError("--with and --set choose settings of a stage", f"--stage {next(iter(found.stages), 'STAGE')}")
    fields = _fields(found)
    output.know(**fields)
    resolved = stages.resolve(found, stage, names_of(with_), assignments=set_ or ()) if stage else None
    of_stage = _stage_fields(resolved) if resolved else None
    lines = _stage_lines(of_stage) if of_stage else _lines(fields)
    output.result(as_json, "virc.systems.show/1", {**fields, "stage": of_stage}, lines)


def _show_listed(row: "Row", as_json: bool) -> None:
    from virc.systems import support

    reached, published = str(support.of(row)), _published(row)
    known = {"name": row.name, "about": row.about, "state": reached, "published": published}
    head = [f"{row.name}: {row.about}", f"state        {reached}"]
    output.result(as_json, "virc.systems.show/1", {**FAILURE, **known}, [*head, *_published_lines(published)])


def _published(row: "Row") -> dict[str, Any]:
    """What is published of a system, and each component it needs: whether it is there, and what of it is not."""
    import msgspec

    from virc.systems import published as listed

    lacking = listed.lacking(row)
    needs = {each: listed.components()[each] for each in row.needs}
    return {
        **msgspec.to_builtins(row),
        "needs": {
            each: {**msgspec.to_builtins(found), "there": found.is_there, "lacks": lacking.get(each) or None}
            for each, found in needs.items()
        },
    }


def _fields(system: "System") -> dict[str, Any]:
    import msgspec

    from virc.systems import published as listed
    from virc.systems import support

    published, texts = listed.rows().get(system.name), _texts(system)
    fields: dict[str, Any] = msgspec.to_builtins({name: getattr(system, name) for name in _OF_SYSTEM})
    return fields | {
        "assumed": [str(each) for each in system.assumed],
        "state": str(support.of_system(system, published)),
        "published": _published(published) if published else None,
        "file": str(system.file),
        "texts": texts,
        **_prompt_fields(system, all(each["here"] for each in texts)),
        "stages": {name: _about_stage(system, name) for name in system.stages},
    }


def _prompt_fields(system: "System", has_texts: bool) -> dict[str, Any]:
    """What a model of the system is told, a call that it may write, and its limits; `has_texts`: in its authors' words.

    All are None if they come with the weights or from a pipeline, or if tools of its own would have to be loaded.
    """
    import msgspec

    from virc.models.chat_protocol import of_system
    from virc.solving import reading
    from virc.systems import speech
    from virc.tools import registry as tools

    none: dict[str, Any] = dict.fromkeys(("limits", "sent", "example_call"))
    if (system.protocol_source or system.pipeline) and not system.worded:
        return none
    if not all(map(tools.known_here, system.offered)):
        output.note("it has tools of its own, which are not loaded here: virc systems check FILE --reply TEXT")
        return none
    grid = reading.grid_of(system)
    if has_texts:
        protocol = of_system(system).protocol
    else:
        protocol = speech.worded_by(system, own_words=True) or speech.ours(system)
        output.note(f"shown in our own words, until virc download texts --system {system.called}")
    sent = msgspec.to_builtins(reading.opening(protocol, SIZE, grid))
    call = reading.example(protocol, SIZE, grid)
    return {"limits": msgspec.to_builtins(reading.limits(protocol, grid)), "sent": sent, "example_call": call}


def _texts(system: "System") -> list[dict[str, Any]]:
    """The repositories that texts of its authors are taken from."""
    from virc.systems import texts

    found = texts.of(system.file.parent)
    return [
        {
            "source": source,
            "commit": found.sources[source].commit,
            "license": found.sources[source].license,
            "texts": [name for name, each in found.texts.items() if found.source_of(each) == source],
            "here": texts.own_words() or all(file.is_file() for file in texts.places(found, source)),
        }
        for source in (found.files() if found else ())
        if found
    ]


def _about_stage(system: "System", name: str) -> dict[str, Any]:
    from virc.stages import resolve as stages

    settings, _ = stages.merged(stages.of_system(system, name))
    stage = system.stages[name]
    shown = {key: settings.get(key) for key in ("base", "after", "data", "variant")}
    return {"kind": stage.kind, **shown, "differs": list(stage.differs), "notes": list(stage.notes)}


def _stage_fields(resolved: "Resolved") -> dict[str, Any]:
    import msgspec

    from virc.engines import registry as engines
    from virc.stages import resolve as stages

    settings = (resolved.config, resolved.published, resolved.origins, resolved.name)
    changes = engines.changes(resolved.kind, *settings) if resolved.published else ()
    for fault in engines.faults(resolved.kind, resolved.config):
        output.warn(fault.message, fault.hint)
    rows = stages.rows(resolved)
    return {
        "name": resolved.stage,
        "overlays": list(resolved.overlays),
        "settings": {name: {"value": value, "from": origin} for name, value, origin in rows},
        "notes": list(resolved.notes),
        "published": dict(resolved.published),
        "changed": msgspec.to_builtins(changes),
    }


def _stage_lines(stage: dict[str, Any]) -> Iterator[str]:
    from virc_cli.console.tables import table, value_text

    yield from table([(name, value_text(row["value"]), row["from"]) for name, row in stage["settings"].items()])
    yield from (f"note: {note}" for note in stage["notes"])
    if not stage["published"]:
        return
    same = len(stage["published"].keys() - {row["key"] for row in stage["changed"]})
    yield ""
    yield f"changed from published ({same} of {len(stage['published'])} keys are the same)"
    head = ("key", "published", "here", "why")
    rows = [(row["key"], value_text(row["published"]), value_text(row["ours"]), row["why"]) for row in stage["changed"]]
    yield from (f"  {line}" for line in table([head, *rows]))


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    yield f"{fields['name']}: {fields['about']}" if fields["about"] else fields["name"]
    shown = "state pipeline file coordinates images".split()
    yield from (f"{name:<12} {fields[name]}" for name in shown if fields[name])
    if tools := fields["tools"]:
        yield f"tools        {tools if isinstance(tools, str) else ', '.join(tools)}"
    if fields["chat_protocol"]:
        yield f"chat protocol      of its own: {', '.join(fields['chat_protocol'])}"
    if fields["sampling"]:
        yield f"sampling     {', '.join(f'{name} {value:g}' for name, value in fields['sampling'].items())}"
    yield from _text_lines(fields)
    yield from _prompt_lines(fields)
    models, judges = fields["models"].items(), fields["judges"].items()
    yield from section("models", [(name, _weights(name, each), each["coordinates"] or "") for name, each in models])
    yield from section("judges", [(name, _weights(name, each), f"{each['gib'] or '?'} GiB") for name, each in judges])
    sources = [(name, each["hub"] or f"github.com/{each['github']}") for name, each in fields["datasets"].items()]
    yield from section("datasets", [(name, source, f"data/{name}") for name, source in sources])
    for coordinates, source in fields["protocol_source"].items():
        yield f"chat protocol of models with boxes in {coordinates}: as {source} shows it"
    if fields["stages"]:
        yield "stages"
    for name, stage in fields["stages"].items():
        start = f"after {stage['after']}" if stage["after"] else f"from {stage['base']}"
        words = ", ".join(f"{key} {word}" for key, word in (stage["variant"] or {}).items())
        yield f"  {name} ({stage['kind']}) {start}, data {stage['data']}" + (f" ({words})" if words else "")
        yield from (f"    differs: {each}" for each in stage["differs"])
        yield from (f"    note: {note}" for note in stage["notes"])
    if fields["rounds"]:
        yield f"rounds, by virc train {fields['name']} --rounds N; each"
    yield from (f"  {_round_line(step)}" for step in fields["rounds"])
    overlays = [
        (name, each["about"], "; ".join(map(": ".join, each["verified"].items())) or "never run")
        for name, each in fields["overlays"].items()
    ]
    yield from section("overlays, chosen by --with", overlays)
    if fields["reward"]:
        reward, judge = fields["reward"], fields["reward"]["judge"]
        total = reward["total"] or "to be supplied"
        yield f"reward {total}, checks {reward['strict']}, judge {judge['endpoint'] or 'none'}"
    if fields["reported"]:
        reported = fields["reported"]
        yield f"reported in {reported['source']}; virc eval --against paper compares ours with them"
        for model, figures in reported["figures"].items():
            yield f"  {model}: " + ", ".join(f"{name} {percent:g}%" for name, percent in figures.items())
        yield from (f"  note: {note}" for note in reported["notes"])
    yield from fields["assumed"]
    yield from (f"note: {note}" for note in fields["notes"])
    if fields["published"]:
        yield from _published_lines(fields["published"])


def _text_lines(fields: dict[str, Any]) -> Iterator[str]:
    for each in fields["texts"]:
        where = "here" if each["here"] else f"not here: virc download texts --system {fields['name']}"
        licence = each["license"] or "none stated"
        yield f"texts        {len(each['texts'])} of {each['source']}@{each['commit'][:7]}, license {licence}; {where}"


def _round_line(step: dict[str, Any]) -> str:
    if sample := step["sample"]:
        rows = f"pairs by the rule {sample['pairs']}" if sample["pairs"] else "right solutions"
        best = f", at most {sample['keep']} of {sample['samples']} at temperature {sample['temperature']:g}"
        return f"{sample['name']}: {rows} of {sample['from']}{best}, problems {sample['data'] or 'of --data'}"
    return f"train {step['train']} from {step['from']}, data {step['data'] or 'of the stage'}"


def _prompt_lines(fields: dict[str, Any]) -> Iterator[str]:
    """The limits, the turns before the first reply, and a call."""
    from virc_cli.console.tables import value_text

    limits = [(name, value) for name, value in (fields["limits"] or {}).items() if value is not None]
    yield from section("limits", [(name, value_text(value)) for name, value in limits])
    turns = [(each["role"], each["text"]) for each in fields["sent"] or ()]
    turns += [("may reply", fields["example_call"])] if fields["example_call"] else []
    if turns:
        yield f"what the model is told of an image of {SIZE[0]} x {SIZE[1]}"
    for role, text in turns:
        yield f"  {role:<11}" + text.replace("\n", "\n" + " " * 13)


def _published_lines(published: dict[str, Any]) -> Iterator[str]:
    yield f"published    {published['title']}, number {published['row']} of the field"
    yield f"  training   {published['stages']}"
    if published["base"]:
        yield f"  base       {published['base']}"
    if published["repo"]:
        yield f"  code       https://github.com/{published['repo']}"
    for key, head in (("unknown", "not public"), ("reported", "reported"), ("outside", "outside")):
        if published[key]:
            yield f"  {head:<11}{published[key]}"
    yield from section("needs", [_needed(*each) for each in published["needs"].items()])


def _needed(name: str, component: dict[str, Any]) -> tuple[str, ...]:
    state = "missing"
    if component["there"]:
        state = "partly" if component["lacks"] else "there"
    lacks = f"; not {component['lacks']}" if component["lacks"] else ""
    return name, state, component["about"] + lacks


def _weights(name: str, model: dict[str, Any]) -> str:
    from virc.models import registry as models

    return model["hub"] or model["folder"] or ("in this package" if name in models.embedded() else f"models/{name}")
