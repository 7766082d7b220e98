"""What is wrong with a system's YAML, found without a network, a GPU or weights."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from pathlib import Path

import msgspec
from msgspec import UNSET

from virc.config import dotted, validation
from virc.config import yaml as plain_yaml
from virc.config.validation import Fault
from virc.core import plugins
from virc.core.errors import ConfigError, SetupError
from virc.core.options import in_yaml, spelled_hint
from virc.core.text import did_you_mean, plain
from virc.engines import registry as engines
from virc.rewards import judging
from virc.rewards import registry as rewards
from virc.solving.solver import pipelines
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems import speech, words
from virc.systems.registry import System
from virc.tools import registry as tools
from virc_extras.authoring import tool_trial

MAX_LISTED = 100


class Finding(Fault, frozen=True):
    """A fault at a line of a file, from 1; not `certain`: there may be none, and it is a warning."""

    line: int = 1
    certain: bool = True


def system_faults(path: Path, run_code: bool = False) -> list[Finding]:
    """Return the first `MAX_LISTED` faults of a system's file, in the order of its lines.

    Where single keys are wrong, these faults alone: what depends on them is not known.

    Args:
        run_code: where the file has no fault, load the system's reward, and call its own tools on a blank picture.

    Raises:
        ConfigError: there is no file, or it is no YAML.
    """
    text, content = systems.read_file(path)
    faults, unreached = [*islice(systems.misfits(content), MAX_LISTED)], list[Fault]()
    if not faults:
        system = systems.built(content, path)
        faults = [*islice(_faults(system), MAX_LISTED)] or [*(_of_code(system, unreached) if run_code else ())]
    lines = plain_yaml.lines(text)
    found = [
        Finding(
            each.path,
            each.message,
            spelled_hint(each.hint, in_yaml),
            systems.line_of(each.path, lines),
            each not in unreached,
        )
        for each in (*faults, *unreached)
    ]
    return sorted(dict.fromkeys(found), key=lambda each: each.line)


def _of_code(system: System, unreached: list[Fault]) -> Iterator[Fault]:
    """Faults of a system's own code; `unreached` gets servers that cannot be reached from here."""
    for name in (name for name in system.offered if not tools.known_here(name)):
        try:
            yield from _raised(("tools",), partial(tool_trial.check_tool, name, system))
        except SetupError as error:
            unreached.append(Fault(("tools",), error.message, error.hint))
    if (reward := system.reward) and reward.total:
        yield from _raised(("reward", "total"), partial(rewards.of, reward, system.file.parent))


def _faults(system: System) -> Iterator[Fault]:
    """What does not fit together in a file whose keys are right each by itself."""
    folder, reward = system.file.parent, system.reward
    if reward:
        asked = Path(reward.judge.questions) if reward.judge.questions else None
        yield from _raised(("reward", "total"), lambda: rewards.lacking(reward, folder))
        yield from _raised(("reward", "judge", "questions"), lambda: judging.questions(asked))
    if system.pipeline:
        yield from _raised(("pipeline",), lambda: pipelines().check(str(system.file)))
    yield from _raised(("rows_of",), system.rewriting)
    yield from _of_tools(system)
    yield from words.faults(speech.words_of(system, own=True), system.offered, tools.discover())
    for coordinates, source in system.protocol_source.items():
        dataset, _, name = source.partition("/")
        if dataset not in system.datasets or not name:
            hint = did_you_mean(dataset, system.datasets, "NAME is of its dataset_info.json")
            message = f"{plain(source, 60)!r} is not DATASET/NAME, with one of `datasets`"
            yield Fault(("protocol_source", coordinates), message, hint)
    for name, overlay in system.overlays.items():
        for stage in {*overlay.stages, *overlay.verified} - system.stages.keys():
            part = "stages" if stage in overlay.stages else "verified"
            hint = did_you_mean(stage, system.stages)
            yield Fault(("overlays", name, part, stage), f"there is no stage {stage!r}", hint)
    yield from _of_stages(system)


def _raised(path: dotted.Path, call: Callable[[], object]) -> Iterator[Fault]:
    try:
        error = call()
    except ConfigError as raised:
        error = raised
    if isinstance(error, ConfigError):
        yield Fault(path, error.message, error.unspelled_hint)


def _of_tools(system: System) -> Iterator[Fault]:
    said = system.chat_protocol
    if system.tools == "none" and UNSET in (said.system, said.first):
        hint = "chat_protocol: {system: TEXT, first: TEXT}"
        yield Fault(("tools",), "without tools a system needs words of its own", hint)
    for name in system.offered:
        if name not in tools.discover() and not tools.file_of(name, system.file.parent):
            kind = "file" if plugins.is_file_name(name) else "tool"
            known = f"there are {', '.join(tools.discover())}; or ./FILE.py or ./FILE.yaml next to this file"
            message = f"there is no {kind} {plain(name, 200)!r}"
            yield Fault(("tools",), message, did_you_mean(name, tools.discover(), known) if kind == "tool" else None)


def _of_stages(system: System) -> Iterator[Fault]:
    """Faults of the settings of stages, each once, under the first stage and overlay that it occurs in."""
    seen = set[tuple[dotted.Path, str]]()
    for name, overlay in product(system.stages, ((), *((each,) for each in system.overlays))):
        kind = system.stages[name].kind
        values, _ = stages.merged(stages.of_system(system, name, overlay))
        faults = [*validation.faults(values, stages.CONFIGS[kind], noun="setting")]
        if not faults:
            config = msgspec.convert(values, stages.CONFIGS[kind], strict=False)
            faults = [*_of_order(system, name, config.base, config.after), *engines.faults(kind, config)]
        where = f"stage {name}" + "".join(f", with the overlay {each}" for each in overlay)
        for fault in faults:
            keys = _written_at(fault.path, system, name, overlay)
            if (keys, fault.message) not in seen:
                seen.add((keys, fault.message))
                yield Fault(keys, f"{fault.message} ({where})", stages.hint_for(fault))


def _of_order(system: System, name: str, base: str | None, after: str | None) -> Iterator[Fault]:
    others = [each for each in system.stages if each != name]
    if base is None and after is None:
        yield Fault(("base",), "it names neither `base` nor `after`", "base: MODEL, or after: STAGE")
    elif base is not None and after is not None:
        message = f"with `base` the stage does not start from {after!r}, which it comes after"
        yield Fault(("base",), message, "leave one of them out")
    elif after is not None and after not in others:
        hint = did_you_mean(after, others) if others else "base: MODEL"
        yield Fault(("after",), f"there is no stage {after!r} before it", hint)


def _written_at(path: dotted.Path, system: System, stage: str, overlay: tuple[str, ...]) -> dotted.Path:
    """The keys of a setting in the file: where the value that counts is written, else where it would be."""
    places = [(("stages", stage, "settings"), system.stages[stage].settings), (("everywhere",), system.everywhere)]
    for name in overlay:
        chosen = system.overlays[name]
        of_stage = (("overlays", name, "stages", stage), chosen.stages.get(stage, {}))
        places[:0] = [of_stage, (("overlays", name, "settings"), chosen.settings)]
    where = next((keys for keys, settings in places if path[:1] and path[0] in settings), places[0][0])
    return (*where, *path)
