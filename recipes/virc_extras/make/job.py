"""Runs one operator over the rows of files, and writes NEW when all rows are done.

Read `run`: it opens models and the progress file; `_process_rows` passes rows to `_Work.line`; `_publish` writes NEW.
"""

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from virc.core import plugins
from virc.core.errors import ConfigError, DataError, NetworkError, NoAnswerError, UsageError, VircError, errors_as
from virc.core.events import Reporter
from virc.core.files import expanded, is_file
from virc.core.locks import held
from virc.core.options import spelled
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.text import clause, counted
from virc.core.timeouts import Deadline
from virc.data.sample.pairing import Grader
from virc.models.load import Opened
from virc.solving.batch import RowDone, through
from virc.solving.image_source import TRUST
from virc.solving.outcome import Fields
from virc.solving.progress import Progress as Pace
from virc.solving.rows import ProblemRow as AskedRow
from virc.solving.setup import Setup
from virc.systems import texts
from virc_extras.make import registry
from virc_extras.make.asking import Models, opened_models
from virc_extras.make.operator import Cost, LeftOut, Made, Means, Measured, Plan, Row
from virc_extras.make.progress import Line, Progress, encoded
from virc_extras.make.registry import Operator
from virc_extras.make.rows import Placed, count, digest, read

Rewards = Callable[[str], Callable[[Opened, Reporter], Grader]]
"""Maps the name of a system to a function that makes the grader of its reward, from an open model."""
UNREADABLE = "unreadable"
"""The rule of rows that are left out because they, or their pictures, cannot be read."""
NO_ANSWER = "no answer"
"""The rule of rows that are left out because a role with its own protocol gave no answer."""
_MISSING = "missing"  # the rule of rows without the operator's column
_EVERY = 1000  # rows between two progress reports, without models


class Job(msgspec.Struct, frozen=True):
    """One operator over files.

    Args:
        setup: the default model of roles, and settings of requests; None: no model is asked.
        roles: role -> the address of its server, or its model.
        at_once: concurrent rows; None: as many as suit the models.
        prefix: of the names of saved pictures.
        named: the file whose name pictures and further files get; None: `to`. For steps of a list, whose `to` is
            temporary.
        rewards: makes the graders of rewards.
        trust_rows: whether rows may name files outside of their folder, and addresses that are not public.
    """

    operator: Operator
    sources: tuple[str, ...]
    to: Path
    options: Mapping[str, Any] = {}
    setup: Setup | None = None
    roles: Mapping[str, str] = {}
    at_once: int | None = None
    prefix: str = ""
    named: Path | None = None
    rewards: Rewards | None = None
    trust_rows: bool = False


def run(job: Job, report: Reporter) -> Fields:
    began = time.monotonic()
    options = dict(job.options)
    seed = options.pop("seed", 0) if "seed" not in job.operator.options.__struct_fields__ else options.get("seed", 0)
    if not isinstance(seed, int):
        raise UsageError(f"seed must be a whole number, not {seed!r}")
    job = msgspec.structs.replace(job, options=options)
    checked = registry.options_of(job.operator, options)
    if job.to.suffix != ".jsonl":
        raise UsageError(f"{job.to} does not end with .jsonl", f"«--to {job.to.stem or 'new'}.jsonl»")
    place, file = job.to, job.to.with_name(f"{job.to.name}.progress")
    if any(expanded(source).absolute() == place.absolute() for source in job.sources):
        raise UsageError(f"{place} is read and cannot be written", "choose another «--to»")
    with ExitStack() as stack:
        with errors_as(VircError, f"cannot write {place}", caught=(OSError, ValueError)):
            place.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(place))
            if place.exists() and not file.exists():  # another command may have made it just now
                raise UsageError(f"{place} is there already", "choose another «--to», or remove it")
        roles = job.operator.roles(checked)
        models = stack.enter_context(opened_models(roles, job.roles, job.setup, report))
        total = count(job.sources) if roles else None
        head = {"operator": job.operator.name, "options": checked, "seed": seed, "rows": job.sources} | {
            "files": _file_digests(checked), "models": models.names, "asked": _settings(job.setup) if roles else {},
        }  # fmt: skip
        head |= {"words": "own"} if texts.own_words() else {}
        progress = stack.enter_context(Progress(file, head, safe=bool(roles)))
        work = _Work(job, checked, seed, models, progress, report)
        stack.callback(work.close)
        if total and total > progress.resumed:
            requests = job.operator.requests(checked) if job.operator.requests else len(models.opened)
            if any(each.role.own_protocol for each in models.opened.values()):
                requests *= models.max_turns
            left = total - progress.resumed
            report.note(f"{counted(left, 'row')}, at most {counted(left * requests, 'request')} of models")
        pace = _RowProgress(progress, report, total)
        _process_rows(work, pace, report)
        pace.check()
        try:
            fields = _publish(work)
        except UsageError:  # wrong options, without requests to lose: begin again with others
            if not roles:
                file.unlink()
            raise
        if not job.named:
            file.unlink()
        report.note(_summary(fields))
        _warn_of_lost_rows(work, fields, report)
    return {**fields, "seconds": round(time.monotonic() - began, 3)}


def _settings(setup: Setup | None) -> Fields:
    if setup is None:
        return {}
    names = ("system", "protocol", "family", "max_pixels")
    return {"max_turns": setup.config.max_turns} | {name: getattr(setup.choice, name) for name in names}


def _file_digests(options: msgspec.Struct) -> dict[str, str]:
    given = [getattr(options, name) for name in options.__struct_fields__]
    texts = [text for each in given for text in (each if isinstance(each, list) else [each]) if isinstance(text, str)]
    digests = {}
    for name in (each for each in texts if is_file(expanded(each))):
        with expanded(name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "blake2b").hexdigest()[:24]
    return digests


class _RowProgress(Pace):
    """Reports finished rows: `add_line` of operators without models, `add_row` of those that ask some."""

    def __init__(self, progress: Progress, report: Reporter, total: int | None) -> None:
        super().__init__(progress.resumed, report, total)
        self.left_out, self.replies = 0, 0

    def add_line(self, line: Line) -> None:
        self.done, self.left_out = self.done + 1, self.left_out + bool(line.out)
        if self.done % _EVERY == 0:
            self._report.progress(f"{self._pace()}; {self}")

    def add_row(self, done: RowDone) -> None:
        if line := done.fields.get("line"):
            cost = line.cost or Cost()
            self.left_out, self.replies = self.left_out + bool(line.out), self.replies + cost.replies
            self.tokens += cost.prompt + cost.completion
        super().add(done)
        if self.done == 1 and line:
            costs = {"requests": cost.replies, "prompt tokens": cost.prompt, "completion tokens": cost.completion}
            self.estimate("row", costs)

    def __str__(self) -> str:
        return f"{self.left_out} left out" + (f", {self.replies} replies" if self.replies else "")


class _Work:
    """Makes the line of a row; for operators with models, from several threads."""

    def __init__(
        self, job: Job, options: msgspec.Struct, seed: int, models: Models, progress: Progress, report: Reporter
    ) -> None:
        self.job, self.options, self.seed, self.models, self.progress = job, options, seed, models, progress
        self.placed, self._report = Placed(job.to.parent, job.trust_rows), report
        self.untrusted = 0  # rows left out for what they name
        self._graders, self._lock = dict[tuple[str, str], Grader](), threading.Lock()

    def close(self) -> None:
        for each in self._graders.values():
            each.close()

    def grader(self, system: str, role: str) -> Grader:
        with self._lock:
            if (system, role) not in self._graders:
                assert self.job.rewards
                made = self.job.rewards(system)(self.models.opened[role].opened, self._report)
                self._graders[system, role] = made
            return self._graders[system, role]

    def means(self, row: Row | None) -> Means[Any]:
        job, row_digest = self.job, digest(row).hex() if row and self.models.opened else ""
        seed = derived(self.seed, "make", row.id) if row else self.seed
        prefix = f"{job.prefix}{row.number}-" if row else f"{job.prefix}all-"
        timeout = job.setup.config.timeout if job.setup else None
        means: Means[Any] = Means(
            self.options, seed, job.named or job.to, prefix,
            deadline=Deadline(timeout), offline=job.setup.offline if job.setup else False,
            once=lambda key, make: self.progress.once(row.number if row else 0, row_digest, key, make),
            rows=lambda path: read([path], job.trust_rows), opened=self.models.opened, max_turns=self.models.max_turns,
            grader=self.grader if job.rewards else None,
        )  # fmt: skip
        if self.models.opened:
            means.roles = self.models.roles(means)
        return means

    def line(self, row: Row) -> Line:
        operator = self.job.operator
        line = Line(row.number, digest(row).hex(), row.id, row.source)
        if row.fault:
            line.out = LeftOut(UNREADABLE, row.fault.message)
            return line
        means = self.means(row)
        try:
            with self.models.running(means), _locate_errors(operator):
                if operator.run:
                    made = operator.run(row, means)
                else:
                    assert operator.measure
                    value = operator.measure(row, means)
                    made = Made((), value) if isinstance(value, LeftOut) else Made((row.fields,))
                    line.value = None if made.out else value
        except DataError as error:
            if isinstance(error.__cause__, NetworkError):
                raise
            why = f"{error.message}; {error.hint}" if error.unspelled_hint == TRUST else error.message
            made = Made((), LeftOut(UNREADABLE, why))
        except NoAnswerError as error:
            made = Made((), LeftOut(NO_ANSWER, error.message))
        with _locate_errors(operator):
            line.out = made.out if not made.rows else None
            try:
                line.rows = [msgspec.Raw(encoded(each)) for each in self._with_ids(row, made.rows)]
            except (UnicodeEncodeError, OverflowError, RecursionError) as error:
                line.out, line.value = LeftOut(UNREADABLE, f"it cannot be written as JSON: {clause(error)}"), None
        line.cost = means.cost if means.cost.replies else None
        return line

    def _with_ids(self, row: Row, made: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for number, fields in enumerate(made, 1):
            id = fields.get("id")
            if len(made) > 1 and id in (None, row.fields.get("id")):
                id = f"{row.id}-{number}"
            yield self.placed.fields({"id": row.id, **fields} if id is None else {**fields, "id": id}, row.base)


@contextmanager
def _locate_errors(operator: Operator) -> Iterator[None]:
    """Report an error of the operator's Python with its file and line."""
    try:
        yield
    except (VircError, KeyboardInterrupt):
        raise
    except Exception as error:
        line = plugins.line_in(operator.file, error)
        location = f"line {line} of {operator.file}" if line else str(operator.file)
        sentence = f"{location} fails: {type(error).__name__}: {clause(error)}"
        raise ConfigError(sentence, "«VIRC_DEBUG=1» shows where") from error


def _process_rows(work: _Work, pace: _RowProgress, report: Reporter) -> None:
    rows: Iterator[Row] = _unfinished_rows(work.job, work.progress)
    if not work.models.opened:
        for row in rows:
            line = work.line(row)
            work.progress.add(line)
            pace.add_line(line)
        return

    def readable() -> Iterator[Row]:
        for row in rows:
            if row.fault:  # no model is asked
                work.progress.add(line := work.line(row))
                pace.add_line(line)
            else:
                yield row

    def asked(row: AskedRow) -> RowDone:
        assert isinstance(row, Row)
        try:
            return RowDone(row, {"line": work.line(row)})
        except ConfigError as error:  # the operator or the server fails, for all rows
            return RowDone(row, {"ends": error}, error)

    def on_row(done: RowDone) -> None:
        if "ends" in done.fields:
            raise done.fields["ends"]
        if line := done.fields.get("line"):
            work.progress.add(line)
        pace.add_row(done)

    through(readable(), Claims(), asked, on_row, work.models.workers(work.job.at_once), work.models.outage(report.note))


def _unfinished_rows(job: Job, progress: Progress) -> Iterator[Row]:
    last, number = progress.last, 0
    for row in read(job.sources, job.trust_rows):
        number = row.number
        is_done = progress.done(number, digest(row)) if number <= last else False
        if is_done is None:
            sentence = f"row {row.id!r} has changed since it was done"
            raise ConfigError(sentence, f"rm {quote(str(progress.path))} begins again")
        if not is_done:
            yield row
    if number < last:
        sentence = f"there are {number} rows, and row {last} was done before"
        raise ConfigError(sentence, f"rm {quote(str(progress.path))} begins again")


def _publish(work: _Work) -> Fields:
    """Write the list of rows left out, further files of a plan, and last NEW."""
    job, progress = work.job, work.progress
    plan = _make_plan(work) if job.operator.plan else None
    plan_left_out, ids = (plan.left_out, plan.ids) if plan else ({}, {})
    rules = Counter[str]()
    left_out, named = job.to.with_name(f"{job.to.name}.left_out"), job.named or job.to

    def dropped() -> Iterator[bytes]:
        for line in progress.lines():
            if out := plan_left_out.get(line.n) or line.out:
                rules[out.rule] += 1
                work.untrusted += out.why.endswith(spelled(TRUST))
                fields = {"id": line.id, "row": line.n, "source": job.sources[line.source]}
                yield msgspec.json.encode({**fields, "rule": out.rule, "why": out.why})

    def rows(numbers: Sequence[int] | None) -> Iterator[bytes]:
        times = Counter[int]()  # that a row was written
        for line in progress.lines(None if numbers is None else iter(numbers)):
            if numbers is not None:
                times[line.n] += 1
            for row in line.rows:
                yield _with_id(row, ids.get(line.n), times[line.n])

    others = {name: named.with_name(f"{named.stem}.{name}.jsonl") for name in (plan.others if plan else ())}
    if read := {expanded(each).resolve() for each in job.sources} & {each.resolve() for each in others.values()}:
        raise UsageError(f"{min(read)} is read and cannot be written", "choose another «--to»")
    write_lines(left_out, dropped())
    files = dict[str, int]()
    for name, numbers in (plan.others if plan else {}).items():
        files[str(others[name])] = write_lines(others[name], rows(numbers))
    made = sum(files.values()) + write_lines(job.to, rows(plan.order if plan else None))
    total = progress.last
    kept = total - sum(rules.values())
    return {
        "to": str(job.to), "operator": job.operator.name, "rows": total, "kept": kept, "made": made,
        "others": files, "left_out": dict(rules), "left_out_file": str(left_out), "replies": progress.cost.replies,
        "tokens": {"prompt": progress.cost.prompt, "completion": progress.cost.completion},
    }  # fmt: skip


def _warn_of_lost_rows(work: _Work, fields: Fields, report: Reporter) -> None:
    if work.untrusted:
        rows = counted(work.untrusted, "row")
        report.warn(f"{rows} left out for pictures outside of their folder, or at addresses that are not public", TRUST)
    elif fields["rows"] and not fields["kept"]:
        has_no_column = fields["left_out"].keys() == {_MISSING}
        report.warn(
            "no row is kept",
            "no row has the column that is named" if has_no_column else f"{fields['left_out_file']} says why",
        )


def _summary(fields: Fields) -> str:
    rules = ", ".join(f"{count} {rule}" for rule, count in fields["left_out"].items())
    left = f"; left out: {rules}; {fields['left_out_file']} says which" if rules else ""
    left += "".join(f"; {count} of them in {file}" for file, count in fields["others"].items())
    return f"{counted(fields['rows'], 'row')}: {fields['kept']} kept, {fields['made']} made{left}"


class _MeasuredRows:
    """The measured values, read from the disk on each iteration, so that they need not fit in memory."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __iter__(self) -> Iterator[Measured]:
        for each in self._progress.lines():
            if not each.out:
                yield Measured(each.n, each.id, each.source, each.value)


def _make_plan(work: _Work) -> Plan:
    operator, measured = work.job.operator, _MeasuredRows(work.progress)
    assert operator.plan
    with _locate_errors(operator):
        plan = operator.plan(measured, work.means(None))
        assert isinstance(plan, Plan)
        taken = {*plan.order, *(number for each in plan.others.values() for number in each)}
        lost = {each.number: LeftOut("plan") for each in measured if each.number not in taken}
        return msgspec.structs.replace(plan, left_out={**lost, **plan.left_out})


def _with_id(row: msgspec.Raw, id: str | None, times: int) -> bytes:
    """The row with another id, if one is given; a repeated row gets the number of its repetition."""
    if id is None and times < 2:
        return bytes(row)
    fields = msgspec.json.decode(row)
    own = fields.get("id") if id is None else id
    return msgspec.json.encode({**fields, "id": f"{own}-{times}" if times > 1 else own})


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    new, number = path.with_name(f".{path.name}.new"), 0
    try:
        with new.open("wb", buffering=2**20) as file:
            for line in lines:
                file.write(line + b"\n")
                number += 1
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise VircError(f"cannot write {path}: {clause(error)}") from error
    finally:
        new.unlink(missing_ok=True)
    return number
