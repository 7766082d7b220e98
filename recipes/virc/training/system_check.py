"""Everything that is wrong with a system's YAML, found without a network, a GPU, weights or rows."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from virc.backends import checkpoint
from virc.config import dotted, validation
from virc.config import yaml as plain_yaml
from virc.config.validation import Fault
from virc.core import plugins
from virc.core.errors import ConfigError, SetupError, VircError
from virc.core.files import is_file
from virc.core.text import did_you_mean, plain
from virc.data.formats.registry import Source, only_source
from virc.download import data_files
from virc.engines import registry as engines
from virc.families import registry as families
from virc.models import registry as models
from virc.rewards.check import run as rewards
from virc.rewards.check import trial
from virc.solving.pipelines import files as pipelines
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems import speech, words
from virc.systems.kinds import KINDS
from virc.systems.registry import Reward, System
from virc.training import inputs

MAX_LISTED = 100

_SIZE = (1024, 768)  # px of the picture that tools are tried on
_MAX_TRIES = 2000  # a stage with an overlay takes about a millisecond


class Finding(msgspec.Struct, frozen=True):
    """One fault: its line in the file, from 1; the keys that lead there, with dots between them; what is wrong.

    One that is not certain may be none: a warning.
    """

    line: int
    where: str
    message: str
    hint: str | None = None
    certain: bool = True


def check(path: Path) -> list[Finding]:
    """Return the first `MAX_LISTED` faults of a system's file, in the order of its lines.

    Faults of single keys come before others.

    Raises:
        ConfigError: there is no file, or it is no YAML.
    """
    if not is_file(path):
        raise ConfigError(f"there is no file {path}", "virc systems ls")
    text = plain_yaml.read_text(path)
    content = plain_yaml.parse(text, str(path))
    found = list(islice(_faults(content, path), MAX_LISTED))
    lines = plain_yaml.lines(text)
    findings = [
        Finding(systems.line_of(fault.path, lines), ".".join(fault.path), fault.message, fault.hint) for fault in found
    ]
    return sorted(dict.fromkeys(findings), key=lambda each: each.line)


def tried(path: Path, workspace: Path, data: Path | None = None) -> list[Finding]:
    """What fails of a system's own tools when each gets a call, and what is wrong with its rewards for their rows.

    Code of the system is run, and servers of its tools are asked; one that cannot be reached is not a certain fault.
    A tool whose arguments cannot be guessed from its schema is not.
    """
    system = systems.get(str(path))
    lines = plain_yaml.lines(plain_yaml.read_text(path))
    of_tools = systems.line_of(("tools",), lines)
    findings = [
        Finding(of_tools, "tools", error.message, error.hint, certain=isinstance(error, ConfigError))
        for error in _run_tools(system)
    ]
    for place, found in _of_rewards(system, workspace, data):
        line = systems.line_of(place, lines)
        findings.append(Finding(line, ".".join(place), found.message, found.hint, found.certain))
    return sorted(findings, key=lambda each: each.line)


def _of_rewards(system: System, workspace: Path, data: Path | None) -> Iterator[tuple[dotted.Path, trial.Finding]]:
    seen: list[object] = []
    for where, reward, source in _rewards(system, workspace, data):
        scored = (reward.total, reward.weights, reward.gate, source)
        if reward.total is None or scored in seen:
            continue
        seen.append(scored)
        try:
            found = rewards.check(system, reward, source)
        except ConfigError as error:
            found = [trial.Finding(error.message, error.hint, certain=True)]
        for each in found:
            key = ("gate",) if each.term == reward.gate else ("weights", str(each.term))
            yield (*where, *(key if reward.weights and each.term else ("total",))), each


def _rewards(system: System, workspace: Path, data: Path | None) -> Iterator[tuple[dotted.Path, Reward, Source | None]]:
    """The rewards of a system and of its stages with the keys that lead to each, and its rows if they are here.

    Rows that are named are those of the system's own reward; if it has none, of its first stage of RL.
    """
    named = only_source(data, system) if data else None
    if system.reward and named:
        yield ("reward",), system.reward, named
        return
    found = list[tuple[dotted.Path, Reward, Source | None]]()
    for name in (name for name, stage in system.stages.items() if stage.kind == "rl"):
        resolved = stages.resolve(system, name)
        source = named
        with suppress(VircError):  # train says what is missing
            source = source or inputs.rows(resolved, workspace)
        own = "reward" in system.stages[name].settings or not system.reward
        where = ("stages", name, "settings", "reward") if own else ("reward",)
        found.append((where, resolved.config.reward, source))
    yield from found[: 1 if named else None]
    if system.reward and not any(where == ("reward",) for where, _, _ in found):
        yield ("reward",), system.reward, None


def _run_tools(system: System) -> Iterator[ConfigError | SetupError]:
    """Call each of the system's own tools on a blank picture; yields SetupError if one cannot be used here."""
    from virc.models.chat_protocol import of_system
    from virc.solving import reading
    from virc.solving.trying import tool_files, tool_trial
    from virc.tools import registry as tools

    if all(map(tools.known_here, system.offered)):
        return
    try:
        protocol = of_system(system).protocol
    except ConfigError as error:
        yield error
        return
    for copy, file in tools.own_files(protocol.tools).items():
        name = Path(copy).stem
        if fault := tool_files.misnamed(name, file):
            yield SetupError(f"{file}: {fault.reason}", fault.hint)
        try:
            tools.check_ready([name])
            with tool_trial.of_servers(name):
                for text in reading.examples([name], protocol, _SIZE):
                    list(reading.read([text], protocol, _SIZE))
        except (ConfigError, SetupError) as error:
            yield error


def not_in_process_errors(path: Path, workspace: Path) -> list[ConfigError]:
    """What to say of the bases and released models of a system without faults that do not run in this process.

    Their type is that of their config.json, if they are in the workspace, or else follows from their names.
    """
    system = systems.get(str(path))
    roles = [(base, f"the base {base}") for base in data_files.bases(system)]
    roles += [(model.hub, f"the released model {model.hub}") for model in system.models.values() if model.hub]
    types = ((name, role, _model_type(name, workspace)) for name, role in dict(roles).items())
    refused = (checkpoint.not_in_process_error(role, kind, name) for name, role, kind in types)
    return [each for each in refused if each]


def _model_type(name: str, workspace: Path) -> object:
    unknown = checkpoint.FAMILIES[0]
    with suppress(ConfigError):
        return checkpoint.model_type(models.find(name, workspace).folder) or unknown
    family = families.by_name(Path(name).name)
    kinds = family.model_types if family else ()
    return unknown if set(kinds) & set(checkpoint.FAMILIES) else next(iter(kinds), unknown)


def _faults(content: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    from virc.tools import registry as tools

    single = [*islice(_of_single_keys(content), MAX_LISTED)]
    yield from single
    rest, wrong = _sound(content, single)
    yield from _of_names(content)
    system = systems.built(rest, path)
    yield from _of_order(system)
    yield from _of_reward(system)
    yield from _of_tools(system)
    if "tools" not in wrong:  # what its calls may name is not known then; custom tools are not loaded by a check
        yield from words.faults(speech.words_of(system, own=True), system.offered, tools.discover())
    yield from _of_protocol_source(system)
    for key, load in (("pipeline", lambda: pipelines.load(str(system.file))), ("rows_of", system.rewriting)):
        try:
            if getattr(system, key):
                load()
        except ConfigError as error:
            yield Fault((key,), error.message, error.hint)
    seen: set[tuple[dotted.Path, str]] = set()
    if len(system.stages) * len(system.overlays) > _MAX_TRIES:
        yield Fault(("overlays",), f"there are over {_MAX_TRIES} pairs of a stage and an overlay: too many to try")
        return
    for name in system.stages:
        yield from _of_stage(system, name, wrong, seen)


def _sound(content: Mapping[str, Any], faults: list[Fault]) -> tuple[dict[str, Any], set[str]]:
    rest = dict(content)
    wrong: set[str] = set()
    while faults:
        gone = {each.path[:-1] if isinstance(each, validation.Missing) else each.path for each in faults}
        wrong |= {path[-1] for path in gone if path}
        rest = {"name": "unnamed", **dotted.without(rest, gone)}
        faults = list(systems.misfits(rest))
    return rest, wrong


def _of_single_keys(content: Mapping[str, Any]) -> Iterator[Fault]:
    yield from systems.misfits(content)
    seen: set[tuple[dotted.Path, str]] = set()
    for path, kind, others in _layers(content):
        settings = dotted.at(content, path)
        for fault in validation.faults(settings, kind, noun="setting") if isinstance(settings, Mapping) else ():
            foreign = isinstance(fault, validation.Unknown) and fault.path[1:] == () and fault.path[0] in others
            where = (*path, *fault.path)
            if not isinstance(fault, validation.Missing) and not foreign and (where, fault.message) not in seen:
                seen.add((where, fault.message))
                yield Fault(where, fault.message, stages.hint_for(fault))


def _layers(content: Mapping[str, Any]) -> Iterator[tuple[dotted.Path, Any, frozenset[str]]]:
    """Where settings are, the `Config` that says which there are, and those that stages of another kind may have."""
    written = _mappings(content.get("stages"))
    kinds = {name: stages.CONFIGS[stage["kind"]] for name, stage in written.items() if stage.get("kind") in KINDS}
    everywhere = list(dict.fromkeys(kinds.values()))
    every = frozenset(field for kind in everywhere for field in kind.__struct_fields__)
    none: frozenset[str] = frozenset()
    yield from (
        (("stages", name, "settings"), kind, none) for name, kind in kinds.items() if "settings" in written[name]
    )
    if "everywhere" in content:
        yield from ((("everywhere",), kind, every) for kind in everywhere)
    for name, overlay in _mappings(content.get("overlays")).items():
        if "settings" in overlay:
            yield from ((("overlays", name, "settings"), kind, every) for kind in everywhere)
        for stage in _mappings(overlay.get("stages")):
            if stage in kinds:
                yield ("overlays", name, "stages", stage), kinds[stage], none


def _mappings(value: Any) -> dict[str, Mapping[str, Any]]:
    members = value.items() if isinstance(value, Mapping) else ()
    return {name: each for name, each in members if isinstance(each, Mapping)}


def _of_names(content: Mapping[str, Any]) -> Iterator[Fault]:
    known = _mappings(content.get("stages"))
    for name, overlay in _mappings(content.get("overlays")).items():
        for part in ("stages", "verified"):
            named = overlay.get(part)
            for stage in named if isinstance(named, Mapping) else ():
                if stage not in known:
                    hint = did_you_mean(stage, known) if known else None
                    yield Fault(("overlays", name, part, stage), f"there is no stage {stage!r}", hint)
    leaves = list(dotted.leaves(content))
    named = [str(value) for path, value in leaves if path[-1] in ("data", "validation")]
    used = {word for value in named for word in re.findall(r"\{(\w+)\}", value)}
    for path, _ in leaves:
        if path[-2:-1] == ("variant",) and path[-1] not in used:
            yield Fault(path, f"no `data` has a {{{path[-1]}}} to be filled", did_you_mean(path[-1], used, "remove it"))


def _of_reward(system: System) -> Iterator[Fault]:
    """A total that there is not; what it reads is known when it is loaded, which a check does not do."""
    if system.reward is None:
        return
    from virc.rewards import registry as rewards
    from virc.rewards.judging import questions

    fault = rewards.lacking(system.reward, system.file.parent)
    if fault:
        yield Fault(("reward", "total"), fault.message, fault.hint)
    asked = system.reward.judge.questions
    try:
        questions(Path(asked) if asked else None)
    except ConfigError as wrong:
        yield Fault(("reward", "judge", "questions"), wrong.message, wrong.hint)


def _of_tools(system: System) -> Iterator[Fault]:
    from virc.tools import registry as tools

    if system.tools == "none" and UNSET in (system.chat_protocol.system, system.chat_protocol.first):
        yield Fault(
            ("tools",), "without tools a system needs words of its own", "chat_protocol: {system: TEXT, first: TEXT}"
        )
    for name in system.offered:
        if name in tools.discover() or tools.file_of(name, system.file.parent):
            continue
        if plugins.is_file_name(name):
            yield Fault(("tools",), f"there is no file {plain(name, 200)}")
        else:
            known = f"there are {', '.join(tools.discover())}; or ./FILE.py or ./FILE.yaml next to this file"
            hint = did_you_mean(name, tools.discover(), known)
            yield Fault(("tools",), f"there is no tool {plain(name, 60)!r}", hint)


def _of_protocol_source(system: System) -> Iterator[Fault]:
    for coordinates, source in system.protocol_source.items():
        path = ("protocol_source", coordinates)
        dataset, slash, name = source.partition("/")
        if not slash or not name:
            yield Fault(path, f"{plain(source, 60)!r} is not DATASET/NAME", "NAME is of its dataset_info.json")
        elif dataset not in system.datasets:
            hint = did_you_mean(dataset, system.datasets) if system.datasets else "datasets: {NAME: {hub: ID}}"
            yield Fault(path, f"there is no dataset {plain(dataset, 60)!r}", hint)


def _of_order(system: System) -> Iterator[Fault]:
    before = {name: _values(system, name).get("after") for name in system.stages}
    for name, after in before.items():
        path = ("stages", name, "settings", "after")
        if after is None:
            if _values(system, name).get("base") is None:
                lacks = f"the stage {name} names neither `base` nor `after`"
                yield Fault(("stages", name), lacks, "base: MODEL, or after: STAGE")
        elif after not in system.stages:
            others = [each for each in before if each != name]
            yield Fault(path, f"there is no stage {after!r}", did_you_mean(after, others) if others else "base: MODEL")
        else:
            chain, at = [name], after
            while at is not None and at not in chain:
                chain.append(at)
                at = before.get(at)
            if at == name == min(chain):
                yield Fault(path, f"{' after '.join((*chain, name))}: stages in a circle", "base: MODEL in one of them")


def _values(system: System, stage: str, overlay: str | None = None) -> dict[str, Any]:
    return stages.merged(stages.of_system(system, stage, (overlay,) if overlay else ()))[0]


def _of_stage(system: System, name: str, wrong: set[str], seen: set[tuple[dotted.Path, str]]) -> Iterator[Fault]:
    """What is wrong with a stage's settings together: alone, and with each overlay if new. `wrong` are left out."""
    kind = system.stages[name].kind
    settings = stages.CONFIGS[kind]
    alone: set[str] = set()
    for overlay in (None, *system.overlays):
        values = _values(system, name, overlay)
        faults: list[Fault] = []
        for fault in validation.faults(values, settings):
            if fault.path[-1] not in wrong:
                faults.append(Fault(fault.path, f"the setting {fault.path[-1]} is missing"))
            # Some value of its type, so that the rest can be checked.
            expected = validation.kind_at(settings, fault.path)
            tries: tuple[object, ...] = ("-", 1, {})
            values[fault.path[0]] = next((it for it in tries if not any(validation.faults(it, expected))), None)
        if values.get("base") is not None and values.get("after") is not None:
            both = f"with `base` the stage does not start from {values['after']!r}, which it comes after"
            faults.append(Fault(("base",), both, "leave one of them out"))
        config = msgspec.convert(values, settings, strict=False)
        for fault in (*faults, *engines.faults(kind, config)):
            if overlay and fault.message in alone:
                continue
            alone |= set() if overlay else {fault.message}
            path = _place(fault, system, name, overlay)
            if (path, fault.message) not in seen:
                seen.add((path, fault.message))
                where = f"stage {name}" + (f", with the overlay {overlay}" if overlay else "")
                yield Fault(path, f"{fault.message} ({where})", fault.hint)


def _place(fault: Fault, system: System, stage: str, overlay: str | None) -> dotted.Path:
    places: list[tuple[dotted.Path, Mapping[str, Any]]] = [
        (("stages", stage, "settings"), system.stages[stage].settings),
        (("everywhere",), system.everywhere),
    ]
    if overlay:
        chosen = system.overlays[overlay]
        places = [
            (("overlays", overlay, "stages", stage), chosen.stages.get(stage, {})),
            (("overlays", overlay, "settings"), chosen.settings),
            *places,
        ]
    otherwise = ("overlays", overlay, "settings") if overlay else ("stages", stage, "settings")
    where = next((place for place, settings in places if fault.path[0] in settings), otherwise)
    return (*where, *fault.path)
