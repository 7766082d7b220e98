"""Everything that is wrong with a system's YAML, found without a network, a GPU, weights or rows.

`check` reads the file alone, by `_faults`: first each key by itself, then the parts that depend on one another, and
last the settings of every stage with every overlay. `run_code` also runs the system's own tools and rewards.
"""

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
    """One fault of a file.

    Args:
        line: in the file, from 1.
        where: the keys that lead there, with dots between them.
        certain: False: it may be none, and is a warning.
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
    lines = plain_yaml.lines(text)
    findings = [
        Finding(systems.line_of(fault.path, lines), ".".join(fault.path), fault.message, fault.hint)
        for fault in islice(_faults(content, path), MAX_LISTED)
    ]
    return sorted(dict.fromkeys(findings), key=lambda each: each.line)


def run_code(path: Path, workspace: Path, data: Path | None = None) -> list[Finding]:
    """Call each of a system's own tools, and score rows by its rewards; returns what fails.

    Servers of its tools are asked; one that cannot be reached is no certain fault. A tool whose arguments cannot be
    guessed from its schema is not called.
    """
    system = systems.get(str(path))
    lines = plain_yaml.lines(plain_yaml.read_text(path))
    line_of_tools = systems.line_of(("tools",), lines)
    findings = [
        Finding(line_of_tools, "tools", error.message, error.hint, certain=isinstance(error, ConfigError))
        for error in _run_tools(system)
    ]
    for keys, finding in _run_rewards(system, workspace, data):
        line = systems.line_of(keys, lines)
        findings.append(Finding(line, ".".join(keys), finding.message, finding.hint, finding.certain))
    return sorted(findings, key=lambda each: each.line)


def _run_rewards(system: System, workspace: Path, data: Path | None) -> Iterator[tuple[dotted.Path, trial.Finding]]:
    """Score rows by each different reward; yields the keys that a finding is about, and the finding."""
    checked: list[object] = []
    for keys, reward, source in _rewards_with_rows(system, workspace, data):
        what_scores = (reward.total, reward.weights, reward.gate, source)
        if reward.total is None or what_scores in checked:
            continue
        checked.append(what_scores)
        try:
            findings = rewards.check(system, reward, source)
        except ConfigError as error:
            findings = [trial.Finding(error.message, error.hint, certain=True)]
        for finding in findings:
            of_term = ("gate",) if finding.term == reward.gate else ("weights", str(finding.term))
            yield (*keys, *(of_term if reward.weights and finding.term else ("total",))), finding


def _rewards_with_rows(
    system: System, workspace: Path, data: Path | None
) -> Iterator[tuple[dotted.Path, Reward, Source | None]]:
    """The rewards of a system and of its stages: the keys that lead to each, the reward, its rows if they are here.

    Rows that the user names belong to the system's own reward; if it has none, to its first stage of RL.
    """
    named_rows = only_source(data, system) if data else None
    if system.reward and named_rows:
        yield ("reward",), system.reward, named_rows
        return
    of_stages = list[tuple[dotted.Path, Reward, Source | None]]()
    for name in (name for name, stage in system.stages.items() if stage.kind == "rl"):
        resolved = stages.resolve(system, name)
        source = named_rows
        with suppress(VircError):  # train says what is missing
            source = source or inputs.rows(resolved, workspace)
        has_reward = "reward" in system.stages[name].settings or not system.reward
        keys = ("stages", name, "settings", "reward") if has_reward else ("reward",)
        of_stages.append((keys, resolved.config.reward, source))
    yield from of_stages[: 1 if named_rows else None]
    if system.reward and not any(keys == ("reward",) for keys, _, _ in of_stages):
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
    """One error for each base and released model of a valid system that cannot run in this process.

    The type of a model is read from its config.json if it is in the workspace, else it follows from its name.
    """
    system = systems.get(str(path))
    roles = [(base, f"the base {base}") for base in data_files.bases(system)]
    roles += [(model.hub, f"the released model {model.hub}") for model in system.models.values() if model.hub]
    types = ((name, role, _model_type(name, workspace)) for name, role in dict(roles).items())
    errors = (checkpoint.not_in_process_error(role, model_type, name) for name, role, model_type in types)
    return [error for error in errors if error]


def _model_type(name: str, workspace: Path) -> object:
    unknown = checkpoint.FAMILIES[0]  # a type that runs: what is not known is not refused
    with suppress(ConfigError):
        return checkpoint.model_type(models.find(name, workspace).folder) or unknown
    family = families.by_name(Path(name).name)
    kinds = family.model_types if family else ()
    return unknown if set(kinds) & set(checkpoint.FAMILIES) else next(iter(kinds), unknown)


def _faults(content: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    from virc.tools import registry as tools

    key_faults = [*islice(_faults_of_keys(content), MAX_LISTED)]
    yield from key_faults
    valid, wrong = _valid_part(content, key_faults)
    yield from _faults_of_references(content)
    system = systems.built(valid, path)
    yield from _faults_of_stage_order(system)
    yield from _faults_of_reward(system)
    yield from _faults_of_tools(system)
    if "tools" not in wrong:  # else nobody knows what its calls may name; custom tools are not loaded by a check
        yield from words.faults(speech.words_of(system, own=True), system.offered, tools.discover())
    yield from _faults_of_protocol_source(system)
    for key, load in (("pipeline", lambda: pipelines.load(str(system.file))), ("rows_of", system.rewriting)):
        try:
            if getattr(system, key):
                load()
        except ConfigError as error:
            yield Fault((key,), error.message, error.hint)
    reported: set[tuple[dotted.Path, str]] = set()
    if len(system.stages) * len(system.overlays) > _MAX_TRIES:
        yield Fault(("overlays",), f"there are over {_MAX_TRIES} pairs of a stage and an overlay: too many to try")
        return
    for name in system.stages:
        yield from _faults_of_stage(system, name, wrong, reported)


def _valid_part(content: Mapping[str, Any], faults: list[Fault]) -> tuple[dict[str, Any], set[str]]:
    """The content without the keys that have faults, and the last names of these keys.

    What is left may have faults of its own, such as a mapping that lacks a key now: it is reduced until it has none.
    """
    rest = dict(content)
    wrong: set[str] = set()
    while faults:
        removed = {each.path[:-1] if isinstance(each, validation.Missing) else each.path for each in faults}
        wrong |= {path[-1] for path in removed if path}
        rest = {"name": "unnamed", **dotted.without(rest, removed)}
        faults = list(systems.misfits(rest))
    return rest, wrong


def _faults_of_keys(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Unknown keys and values of the wrong kind, each by itself."""
    yield from systems.misfits(content)
    reported: set[tuple[dotted.Path, str]] = set()
    for path, kind, others in _layers(content):
        settings = dotted.at(content, path)
        for fault in validation.faults(settings, kind, noun="setting") if isinstance(settings, Mapping) else ():
            is_of_others = isinstance(fault, validation.Unknown) and fault.path[1:] == () and fault.path[0] in others
            keys = (*path, *fault.path)
            # A layer may lack settings that another layer has, and be for stages of several kinds.
            if not isinstance(fault, validation.Missing) and not is_of_others and (keys, fault.message) not in reported:
                reported.add((keys, fault.message))
                yield Fault(keys, fault.message, stages.hint_for(fault))


def _layers(content: Mapping[str, Any]) -> Iterator[tuple[dotted.Path, Any, frozenset[str]]]:
    """Every mapping of settings: the keys that lead to it, a `Config` that it is for, names that are no fault there.

    A mapping for all stages is yielded once for each kind of stage, with the settings of every kind as such names.
    """
    written = _mappings(content.get("stages"))
    configs = {name: stages.CONFIGS[stage["kind"]] for name, stage in written.items() if stage.get("kind") in KINDS}
    different_configs = list(dict.fromkeys(configs.values()))
    all_names = frozenset(field for config in different_configs for field in config.__struct_fields__)
    no_names: frozenset[str] = frozenset()
    for name, config in configs.items():
        if "settings" in written[name]:
            yield ("stages", name, "settings"), config, no_names
    if "everywhere" in content:
        yield from ((("everywhere",), config, all_names) for config in different_configs)
    for name, overlay in _mappings(content.get("overlays")).items():
        if "settings" in overlay:
            yield from ((("overlays", name, "settings"), config, all_names) for config in different_configs)
        for stage in _mappings(overlay.get("stages")):
            if stage in configs:
                yield ("overlays", name, "stages", stage), configs[stage], no_names


def _mappings(value: Any) -> dict[str, Mapping[str, Any]]:
    """The members of a mapping that are mappings themselves."""
    members = value.items() if isinstance(value, Mapping) else ()
    return {name: each for name, each in members if isinstance(each, Mapping)}


def _faults_of_references(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Stages that overlays name, and words of `variant` that no file name has a place for."""
    known = _mappings(content.get("stages"))
    for name, overlay in _mappings(content.get("overlays")).items():
        for part in ("stages", "verified"):
            of_stages = overlay.get(part)
            for stage in of_stages if isinstance(of_stages, Mapping) else ():
                if stage not in known:
                    hint = did_you_mean(stage, known) if known else None
                    yield Fault(("overlays", name, part, stage), f"there is no stage {stage!r}", hint)
    leaves = list(dotted.leaves(content))
    file_names = [str(value) for path, value in leaves if path[-1] in ("data", "validation")]
    used = {word for file_name in file_names for word in re.findall(r"\{(\w+)\}", file_name)}
    for path, _ in leaves:
        if path[-2:-1] == ("variant",) and path[-1] not in used:
            yield Fault(path, f"no `data` has a {{{path[-1]}}} to be filled", did_you_mean(path[-1], used, "remove it"))


def _faults_of_reward(system: System) -> Iterator[Fault]:
    """A total that does not exist. What a total reads shows when it is loaded only, which this check does not do."""
    if system.reward is None:
        return
    from virc.rewards import registry as rewards
    from virc.rewards.judging import questions

    fault = rewards.lacking(system.reward, system.file.parent)
    if fault:
        yield Fault(("reward", "total"), fault.message, fault.hint)
    file = system.reward.judge.questions
    try:
        questions(Path(file) if file else None)
    except ConfigError as wrong:
        yield Fault(("reward", "judge", "questions"), wrong.message, wrong.hint)


def _faults_of_tools(system: System) -> Iterator[Fault]:
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


def _faults_of_protocol_source(system: System) -> Iterator[Fault]:
    for coordinates, source in system.protocol_source.items():
        path = ("protocol_source", coordinates)
        dataset, slash, name = source.partition("/")
        if not slash or not name:
            yield Fault(path, f"{plain(source, 60)!r} is not DATASET/NAME", "NAME is of its dataset_info.json")
        elif dataset not in system.datasets:
            hint = did_you_mean(dataset, system.datasets) if system.datasets else "datasets: {NAME: {hub: ID}}"
            yield Fault(path, f"there is no dataset {plain(dataset, 60)!r}", hint)


def _faults_of_stage_order(system: System) -> Iterator[Fault]:
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
            chain, earlier = [name], after
            while earlier is not None and earlier not in chain:
                chain.append(earlier)
                earlier = before.get(earlier)
            if earlier == name and name == min(chain):  # a circle is reported once, for the first of its names
                yield Fault(path, f"{' after '.join((*chain, name))}: stages in a circle", "base: MODEL in one of them")


def _values(system: System, stage: str, overlay: str | None = None) -> dict[str, Any]:
    return stages.merged(stages.of_system(system, stage, (overlay,) if overlay else ()))[0]


def _faults_of_stage(
    system: System, name: str, wrong: set[str], reported: set[tuple[dotted.Path, str]]
) -> Iterator[Fault]:
    """Faults of a stage's settings together: without an overlay, and further ones with each overlay.

    Args:
        wrong: names of settings that are known to have faults.
        reported: faults of earlier stages at the same keys; those of this one are added.
    """
    kind = system.stages[name].kind
    settings = stages.CONFIGS[kind]
    without_overlay: set[str] = set()  # messages
    for overlay in (None, *system.overlays):
        values = _values(system, name, overlay)
        faults: list[Fault] = []
        for fault in validation.faults(values, settings):
            if fault.path[-1] not in wrong:
                faults.append(Fault(fault.path, f"the setting {fault.path[-1]} is missing"))
            # Some value of the right type takes its place, so that the rest can be checked.
            expected = validation.kind_at(settings, fault.path)
            examples: tuple[object, ...] = ("-", 1, {})
            fitting = (value for value in examples if not any(validation.faults(value, expected)))
            values[fault.path[0]] = next(fitting, None)
        if values.get("base") is not None and values.get("after") is not None:
            both = f"with `base` the stage does not start from {values['after']!r}, which it comes after"
            faults.append(Fault(("base",), both, "leave one of them out"))
        config = msgspec.convert(values, settings, strict=False)
        for fault in (*faults, *engines.faults(kind, config)):
            if overlay is None:
                without_overlay.add(fault.message)
            elif fault.message in without_overlay:
                continue
            path = _place(fault, system, name, overlay)
            if (path, fault.message) not in reported:
                reported.add((path, fault.message))
                where = f"stage {name}" + (f", with the overlay {overlay}" if overlay else "")
                yield Fault(path, f"{fault.message} ({where})", fault.hint)


def _place(fault: Fault, system: System, stage: str, overlay: str | None) -> dotted.Path:
    """The keys of a setting in the file: where the value that counts is written, else where it would be."""
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
