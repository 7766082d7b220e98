"""One operator over files, or a YAML list of some, each of which gets the rows of the one before it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from virc.config import yaml
from virc.core.errors import ConfigError, UsageError, VircError, errors_as
from virc.core.events import Reporter
from virc.core.files import contents, expanded, write_whole
from virc.core.locks import held
from virc.solving.outcome import Fields
from virc.solving.setup import Setup
from virc_extras.make import registry
from virc_extras.make.job import Job, Rewards, run, write_lines

_MAX_STEPS, _MAX_BYTES = 100, 2**20


def make(
    operator: str,
    sources: Sequence[str],
    to: str | Path,
    options: Mapping[str, Any] | Sequence[str] = (),
    *,
    setup: Setup | None = None,
    roles: Mapping[str, str] = {},
    at_once: int | None = None,
    rewards: Rewards | None = None,
    trust_rows: bool = False,
    report: Reporter | None = None,
) -> Fields:
    """Make rows; the same call continues after a stop.

    Args:
        operator: its name, the path of its file, or that of a YAML file with a list of operators.
        to: `NEW.jsonl`, which is written when all rows are done.
        options: also as `KEY=VALUE` texts. For a list only `seed`, which every operator has, and its random draws are
            derived from.
        trust_rows: whether rows may name files outside of their folder, and addresses that are not public.

    Returns:
        The fields of `virc.data.make/1`.

    Raises:
        UsageError: there is no such operator, an option is wrong, or NEW exists.
        ConfigError: NEW was begun with other settings, or the rows have changed.
        VircError: a model failed for some rows, which the same call retries; or a file cannot be written.
    """
    report, place = report or Reporter(), expanded(to)
    if not operator.endswith((".yaml", ".yml")):
        found = registry.get(operator)
        given = registry.parsed(options, found)
        return run(
            Job(found, tuple(sources), place, given, setup, roles, at_once, rewards=rewards, trust_rows=trust_rows),
            report,
        )
    given = registry.parsed(options)
    if others := given.keys() - {"seed"}:
        raise UsageError(f"«--set {min(others)}» is an option of one operator", f"write it into {operator}")
    jobs, asked, files = list[Job](), set[str](), set[str]()
    for number, step in enumerate(_listed(operator), 1):
        if not isinstance(step, dict) or not isinstance(name := step.pop("operator", None), str):
            raise UsageError(f"step {number} of {operator} names no operator", "- {operator: select, column: level}")
        found = registry.get(name)
        checked = registry.options_of(found, {key: value for key, value in step.items() if key != "seed"})
        mine = {role: roles[role] for role in found.roles(checked) if role in roles}
        asked |= mine.keys()
        second = getattr(checked, "name", None) if found.plan else None  # of its file next to NEW
        if second in files:
            sentence = f"two steps of {operator} write {place.stem}.{second}.jsonl"
            raise UsageError(sentence, "- {operator: split, name: second}")
        files |= {second} if second else set()
        jobs.append(Job(found, (), place, given | step, setup, mine, at_once, f"{number}-", place, rewards, trust_rows))
    if unknown := roles.keys() - asked:
        raise UsageError(f"«--role {min(unknown)}»: no operator of {operator} has it", "virc data make ls NAME")
    return _run_all(jobs, tuple(sources), place, report)


def _listed(file: str) -> list[Any]:
    steps = yaml.value(yaml.read_text(expanded(file)), file)
    if not isinstance(steps, list) or not 0 < len(steps) <= _MAX_STEPS:
        raise UsageError(f"{file} is no list of operators", "- {operator: select, column: level, max: 3}")
    return steps


class _State(msgspec.Struct):
    begun: Any
    done: list[Fields] = []


def _run_all(jobs: Sequence[Job], sources: tuple[str, ...], to: Path, report: Reporter) -> Fields:
    """Run jobs one after the other; their intermediate files are removed when all are done."""
    between = [to.with_name(f".{to.stem}.step{number}.jsonl") for number in range(1, len(jobs) + 1)]
    file, lists = to.with_name(f"{to.name}.steps"), [each.with_name(f"{each.name}.left_out") for each in between]
    if to.exists() and not file.exists():
        raise UsageError(f"{to} is there already", "choose another «--to», or remove it")
    with errors_as(VircError, f"cannot write {to}", caught=(OSError, ValueError)):
        file.parent.mkdir(parents=True, exist_ok=True)
        with held(file):
            steps = [(job.operator.name, dict(job.options)) for job in jobs]
            begun = msgspec.json.decode(msgspec.json.encode([sources, *steps]))
            state = _State(begun)
            if file.exists():
                state = msgspec.json.decode(contents(file, _MAX_BYTES), type=_State)
            if state.begun != begun:
                parts = f"{quote(str(to.parent / f'.{to.stem}.step'))}*"
                hint = f"run the same command again, or rm {quote(str(file))} {parts} to start over"
                raise ConfigError(f"{file} was begun with other steps, options or rows", hint)
            for at, job in enumerate(jobs):
                if at < len(state.done):
                    continue
                report.note(f"step {at + 1} of {len(jobs)}: {job.operator.name}")
                read = (str(between[at - 1]),) if at else sources
                state.done.append(run(msgspec.structs.replace(job, sources=read, to=between[at]), report))
                write_whole(file, msgspec.json.encode(state))
            write_lines(to.with_name(f"{to.name}.left_out"), _dropped(jobs, lists))
            if between[-1].exists():  # else it was killed after this line
                between[-1].replace(to)
            file.unlink()
            for each in (*between, *lists, *(each.with_name(f"{each.name}.progress") for each in between)):
                each.unlink(missing_ok=True)
    return _fields(jobs, state.done, to)


def _dropped(jobs: Sequence[Job], lists: Sequence[Path]) -> Iterator[bytes]:
    for number, (job, file) in enumerate(zip(jobs, lists, strict=True), 1):
        with file.open("rb") as lines:
            for line in lines:
                fields = msgspec.json.decode(line)
                yield msgspec.json.encode({"step": number, "operator": job.operator.name, **fields})


def _fields(jobs: Sequence[Job], done: Sequence[Fields], to: Path) -> Fields:
    rules = {
        f"{number} {job.operator.name}: {rule}": count
        for number, (job, each) in enumerate(zip(jobs, done, strict=True), 1)
        for rule, count in each["left_out"].items()
    }
    tokens = {kind: sum(each["tokens"][kind] for each in done) for kind in done[0]["tokens"]}
    sums = {key: sum(each[key] for each in done) for key in ("replies", "seconds")}
    own: Fields = {
        "to": str(to),
        "operator": " ".join(job.operator.name for job in jobs),
        "left_out_file": f"{to}.left_out",
    }
    own["others"] = {file: count for each in done for file, count in each["others"].items()}
    return {**done[-1], **own, "rows": done[0]["rows"], "left_out": rules, "tokens": tokens, **sums}
