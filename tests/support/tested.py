"""What tests say of systems that they tried, as `SYSTEM.json` in the folder that VIRC_RECORD names.

`python tests/published/verify.py --records FOLDER` makes them the `tested.json` of the systems, from which
`virc systems ls` computes what works.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from support import facts, published_rewards

from virc.envs import pins as envs
from virc.rewards import registry as rewards
from virc.runs.metrics import metrics
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems.catalog import support as state
from virc.systems.catalog.support import Compared, Ran, Record, Solved
from virc.systems.kinds import runs_in
from virc.systems.registry import Reward, System

SIZES = {
    "base", "after", "data", "variant", "validation", "steps", "epochs", "train_batch_size", "ppo_mini_batch_size",
    "micro_batch_size_per_device", "n", "prompt_length", "response_length", "cutoff_len", "save_steps",
    "save_total_limit", "test_freq", "log_every", "rollouts", "trackers", "seed", "filter_overlong",
}  # fmt: skip
"""Settings in which a small run on rows of its own may differ from its stage."""
_MIDDLE = 0.5
Seen = Mapping[str, float | None]
"""The values of a reward's terms for one reply."""
Ranges = dict[str, tuple[float, float]]
"""Term -> its least and its largest value."""


def records() -> bool:
    """Whether what tests try is recorded."""
    return bool(os.environ.get("VIRC_RECORD"))


def ran(
    run: Path, rows: str, replayed: Iterable[Seen] = (), middles: Mapping[str, float] = {}, file: Path | None = None
) -> None:
    """Say that a stage of a system ran in its engine, as it is now.

    Args:
        run: its run, with no overlay but `cpu`, and with the settings of the stage but for `SIZES`.
        rows: the layout of the rows it was trained on, or their format.
        replayed: terms of further replies that were rewarded by the same reward, beside those of `published_rewards`.
        middles: of terms that do not reach from 0 to 1, where no such file says it. Each term is seen above and below.
        file: where it is written; None: in the folder of records.
    """
    info = msgspec.json.decode((run / "run.json").read_bytes(), type=Info)
    system = systems.get(info.system)
    assert set(info.overlays) <= {"cpu"}
    assert not (other := _other_settings(system, info)), f"{run.name} has other settings than its stage: {other}"
    terms: Ranges = {}
    if info.kind == "rl":
        known = {name: published_rewards.read(name) for name in published_rewards.NAMES}
        own = [name for name, file in known.items() if file.system == info.system and info.stage in stages_of(file)]
        files = [published_rewards.compare(name) for name in own]
        terms = _ranges([*(trace.get("terms") or {} for trace in traces(run)), *replayed, *_seen_in(files)])
        ends = {name: sum(ends) / 2 for each in files for name, ends in each.file.terms.items()}
        for name in [each.name for each in _total(system, info).terms]:
            middle, (least, most) = {**ends, **middles}.get(name, _MIDDLE), terms.get(name, (0.0, 0.0))
            assert least < middle < most, f"{name} was seen from {least} to {most}, not on both sides of {middle}"
    steps = max(each.step for each in metrics(Run(run)))
    entry = Ran(engine(info.kind), steps, rows, terms)
    _keep(system, "stages", {info.stage: entry}, file)


def stages_of(file: published_rewards.File) -> list[str]:
    """The stages of a system with the reward that a file of published rewards is of; none of a system without."""
    if file.stage is None:
        return []
    system = systems.get(file.system)
    rewarded = {
        name: stages.resolve(system, name).config.reward for name, stage in system.stages.items() if stage.kind == "rl"
    }
    return [name for name, reward in rewarded.items() if reward == rewarded[file.stage]]


def compared(system: str, stage: str, cases: int, differ: int, file: Path | None = None) -> None:
    """Say that the reward of a stage was counted for replies that the published function rewarded.

    Args:
        cases, differ: how many, and how many got another reward, each for a reason that is listed.
    """
    found = systems.get(system)
    _keep(found, "rewards", {stage: Compared(cases, differ)}, file)


def solved(system: str, replies: int, crops: int, file: Path | None = None) -> None:
    """Say that a scripted conversation of so many replies was answered in a system's own grammar, with its crops."""
    found = systems.get(system)
    _keep(found, "solved", Solved(replies, crops), file)


def traces(run: Path) -> list[dict[str, Any]]:
    """The rollouts that a run has kept, as traces."""
    return [json.loads(file.read_bytes()) for file in sorted((run / "rollouts").glob("step_*/*/trace.json"))]


def engine(kind: str) -> str:
    """The engine of stages of a kind and its version, as its environment pins it."""
    return envs.discover()[runs_in(kind).environment].what.partition(" with ")[0]


def _keep(system: System, field: str, entry: Any, file: Path | None) -> None:
    """Write an entry into the record of a system, where that is asked for."""
    if not records():
        return
    if system.name in facts.FILES:
        assert not (faults := [*facts.differing(system, facts.read(system.name))]), faults
    shipped = Record() if file else state.tested().get(system.name, Record())
    file = file or Path(os.environ["VIRC_RECORD"]).absolute() / f"{system.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other tests write it at the same time
        told = msgspec.json.decode(file.read_bytes() or b"{}", type=dict[str, Record])
        before = told.get(system.name, shipped)
        if field != "solved":
            order, entries = [*system.stages], {**getattr(before, field), **entry}
            entry = {stage: entries[stage] for stage in sorted(entries, key=order.index)}
        written = dict(sorted({**told, system.name: msgspec.structs.replace(before, **{field: entry})}.items()))
        file.write_text(json.dumps(msgspec.to_builtins(written), indent=1) + "\n", encoding="utf-8")


def _other_settings(system: System, info: Info) -> dict[str, Any]:
    """The settings of a run that its stage does not have so."""
    meant, published = (stages.resolve(system, info.stage, overlays).config for overlays in (info.overlays, ()))
    own, has = (json.loads(msgspec.json.encode(settings)) for settings in (meant, info.settings))
    if info.kind == "rl":
        own["reward"] = json.loads(msgspec.json.encode(published.reward))
    for settings in (own, has):
        (settings.get("reward") or {}).pop("judge", None)
    return {name: value for name, value in has.items() if name not in SIZES and own.get(name) != value}


def _total(system: System, info: Info) -> rewards.Total:
    return rewards.of(msgspec.convert(info.settings["reward"], Reward), system.file.parent)


def _seen_in(files: Iterable[published_rewards.Compared]) -> Iterator[Seen]:
    """The values of terms for recorded cases, the least and the largest."""
    for each in files:
        for end in (min, max):
            yield {name: end(values) for name, values in each.values.items() if values}


def _ranges(seen: Iterable[Seen]) -> Ranges:
    """The least and the largest value of each term."""
    found: Ranges = {}
    for terms in seen:
        for name, value in terms.items():
            if value is not None:
                least, most = found.get(name, (value, value))
                found[name] = (round(min(least, value), 4), round(max(most, value), 4))
    return dict(sorted(found.items()))
