"""Scores files of results again from their replies, without the model or the pictures, and says what differs.

Read `verify_file` first: it calls the checks in the order in which they stand here. Each check yields a `Difference`
for whatever the file has and the replies, or the code that scores here, do not give.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.errors import DataError, NetworkError, NoAnswerError, VircError, errors_as
from virc.core.extras import install
from virc.core.files import is_file
from virc.core.text import clause, counted, plain
from virc.download.benchmarks import names
from virc.evaluation.answered import Result
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.problems import BenchmarkProblem, problems_of
from virc.evaluation.results import in_arm, rules_digest
from virc.evaluation.scored import results_of
from virc.evaluation.summary import Score, Summary, summarise
from virc.evaluation.verdicts import can_do_algebra, doubtful, verdicts_by_rule
from virc.evaluation.writing import facts_of
from virc.reasoning.messages import parse, stopped
from virc.reasoning.protocol import Protocol
from virc.reasoning.repetition import repeats
from virc.reasoning.trace import Replies
from virc.scoring.score import Verdict
from virc_extras.studies import signing
from virc_extras.studies.boxes import Boxes
from virc_extras.studies.checking.result_file import ResultFile, read_results
from virc_extras.studies.looking import looks_of
from virc_extras.studies.looks import FURTHER_ARMS

_Kind = Literal["lines", "reply", "verdict", "figure", "signature", "row", "scorer"]
_NONE = "missing"
_COLUMNS = (Boxes(),)  # those whose figures follow from the file
_CHANGED = ("row", "scorer")  # the benchmark or the code may have changed since; any other kind is an edit, or damage
_UNANSWERED = ("no_answer", "turns", "tries")  # failures of the model: the problem counts; with others it is missing
_WORDS = {None: "undecided", True: "right", False: "wrong"}

Problems = Mapping[str, BenchmarkProblem]
Verdicts = Mapping[str, Verdict | None]
"""Id of a problem -> the verdict on its answer; None if there is none."""


class Difference(msgspec.Struct, frozen=True):
    kind: _Kind
    says: str
    id: str | None = None

    def __str__(self) -> str:
        return self.says if self.id is None else f"problem {plain(self.id, 60)}: {self.says}"


class Verified(msgspec.Struct, frozen=True):
    """The result of scoring a file again.

    Args:
        score: as computed here, from the replies.
        missing: problems without a result, which are not counted.
        unanswered: problems with a result, but no answer.
        looks: the verdict on looking, computed from the files of the arms next to this one; None without them.
        notes: what could not be checked, and what differs without being a fault.
        signed: by whom, in words; None if it is not signed.
    """

    file: str
    benchmark: str
    model: str
    digest: str
    score: Score
    missing: int
    unanswered: int
    looks: str | None
    differences: list[Difference]
    notes: list[str]
    signed: str | None

    @property
    def uncounted(self) -> str:
        problems = counted(self.score.of + self.missing, "problem")
        return f"{self.missing} of {problems} missing, {self.unanswered} unanswered"

    def check(self) -> None:
        """Raise a NetworkError if the file was edited, else a DataError if the rows or the scorer changed."""
        edited = [each for each in self.differences if each.kind not in _CHANGED]
        differences = edited or self.differences
        if not differences:
            return
        first_of_kind = dict[str, Difference]()
        for each in differences:
            first_of_kind.setdefault(each.kind, each)
        examples = [str(each) for each in first_of_kind.values()]
        if len(examples) < len(differences):
            examples.append("…")
        error = NetworkError if edited else DataError
        raise error(f"{self.file} has {counted(len(differences), 'difference')}: {'; '.join(examples)}")


def verify(
    path: Path, benchmark: str | None = None, signer: str | None = None, chosen: Mapping[str, str] = {}
) -> Verified:
    """Score a file again.

    Args:
        benchmark: with whose rows those of the file are compared; None: the known benchmark that the file names.
        signer: who must have signed it, as of `signing.check`.
        chosen: of a file of rows that is named, field -> its column.

    Raises:
        DataError: it is no such file.
        VircError: the benchmark that was named cannot be read.
    """
    return verify_file(read_results(path), benchmark, signer, chosen=chosen)


def verify_file(
    file: ResultFile,
    benchmark: str | None = None,
    signer: str | None = None,
    expected: Problems | None = None,
    chosen: Mapping[str, str] = {},
) -> Verified:
    """As `verify`, for a file that was read; the file of an arm must have the problems in `expected`."""
    notes, signed = list[str](), None
    head, problems = file.head, file.problems
    verdicts = _verdicts(file, problems, notes)
    differences = [
        *_seals(file),
        *_asked_alike(file),
        *_read_again(file, notes),
        *_scored_again(file, verdicts, notes),
        *_counted_again(file, problems),
    ]
    source, rows = ("the file", expected) if expected else _benchmark(file, benchmark, problems, notes, chosen)
    differences += _rows(problems, source, rows)
    looks, differences_in_arms = _looked_again(file, problems, verdicts, notes)
    differences += differences_in_arms
    try:
        signed = signing.check_signature(file.path, signer)
    except NetworkError as error:
        differences.append(Difference("signature", error.message))
    (model,) = summary_of({head.model: file}, problems, {head.model: verdicts}).models
    return Verified(
        file=str(file.path),
        benchmark=head.benchmark,
        model=head.model,
        digest=head.digest,
        score=model.score,
        missing=model.missing,
        unanswered=model.unanswered,
        looks=looks,
        differences=differences,
        notes=notes,
        signed=signed,
    )


def _looked_again(
    file: ResultFile, problems: Problems, verdicts: Verdicts, notes: list[str]
) -> tuple[str | None, list[Difference]]:
    """The verdict on looking from the replies in all arms; and the differences in the files of the other arms."""
    head = file.head
    if head.looks is None:
        return None, []
    paths = [in_arm(file.path, arm) for arm in FURTHER_ARMS]
    if absent := next((path for path in paths if not is_file(path)), None):
        place = f"{absent.parent.name}/{absent.name}"
        notes.append(f"the verdict on looking is taken as it is written: {place} is not next to the file")
        return None, []
    arms, differences = [_results(head.model, file, problems, verdicts)], list[Difference]()
    for asked, path in zip(FURTHER_ARMS, paths, strict=True):
        arm = read_results(path)
        is_listed = arm.head.digest == head.arms.get(asked.name) and arm.head.crop_ablation == asked.ablation
        if not is_listed or arm.head.model != head.model or arm.lines.keys() != file.lines.keys():
            differences.append(Difference("lines", f"{path.name} is not the file of its arm"))
        differences += [
            msgspec.structs.replace(each, says=f"{path.name}: {each.says}")
            for each in verify_file(arm, expected=problems).differences
        ]
        arms.append(_results(head.model, arm, problems, {id: line.verdict for id, line in arm.lines.items()}))
    (looks,) = looks_of(arms)
    if any(_unequal(msgspec.to_builtins(looks), head.looks)):
        differences.append(Difference("figure", f"its verdict on looking is by the replies: {looks.sentence}"))
    return looks.sentence, differences


def _results(model: str, file: ResultFile, problems: Problems, verdicts: Verdicts) -> list[Result]:
    answers = {model: {id: line.answer for id, line in file.lines.items()}}
    decided = {(model, id): each for id, each in verdicts.items()}
    return results_of(None, problems, answers, decided, _COLUMNS)


def summary_of(files: Mapping[str, ResultFile], problems: Problems, verdicts: Mapping[str, Verdicts]) -> Summary:
    answers = {name: {id: line.answer for id, line in file.lines.items()} for name, file in files.items()}
    decided = {(name, id): verdict for name, by_id in verdicts.items() for id, verdict in by_id.items()}
    head, results = next(iter(files.values())).head, results_of(None, problems, answers, decided, _COLUMNS)
    return summarise(head.benchmark, results, facts_of(answers), head.crop_ablation, _COLUMNS)


def _seals(file: ResultFile) -> Iterator[Difference]:
    """Where a digest in the file is not that of what it covers."""
    head, lines = file.head, file.lines
    if head.sealed.digest != head.digest:
        yield Difference("figure", "the first line, with the figures, was edited")
    if (len(lines), list(lines.values())[-1].digest) != (head.problems, head.last):
        yield Difference("lines", f"of {head.problems} lines there are {len(lines)}, or others")
    for id, line in lines.items():
        if line.answer.replies_digest != line.replied:
            yield Difference("reply", "its reply or its settings were edited", id)
        elif line.computed != line.digest:
            yield Difference("lines", "its line was edited, or follows another", id)
    if not file.exact:
        yield Difference("lines", "it has bytes that no digest covers, such as repeated keys or unknown fields")


def _asked_alike(file: ResultFile) -> Iterator[Difference]:
    """Where a line has another model or crop ablation than the head, or other samples than the first line."""
    head = file.head
    first = next((line.answer.settings for line in file.lines.values() if line.answer.settings), {})
    for id, line in file.lines.items():
        for key in ("samples", "strategy"):
            if line.answer.settings and line.answer.settings.get(key) != first.get(key):
                yield Difference("lines", f"its {key} is not that of the other lines", id)
        if line.answer.model != head.model:
            yield Difference("lines", f"its line is of the model {plain(line.answer.model, 60)}", id)
        if line.answer.settings is not None and line.answer.crop_ablation != head.crop_ablation:
            yield Difference("lines", f"its crop ablation is {plain(line.answer.crop_ablation, 60)}", id)


def _read_again(file: ResultFile, notes: list[str]) -> Iterator[Difference]:
    """Where the last reply of a problem does not give the answer, or the failure, of its line."""
    with errors_as(DataError, f"{file.path} has a chat protocol that is not valid", caught=(ValueError, TypeError)):
        protocol = msgspec.convert(file.head.chat_protocol, Protocol | None)
    unread = 0
    for id, line in file.lines.items():
        answer, settings, replies = line.answer.answer, line.answer.settings or {}, line.answer.rollout
        if protocol is None or replies is None or settings.get("samples", 1) != 1 or settings.get("strategy"):
            unread += answer is not None
            continue
        try:
            said = parse(stopped(replies.texts[-1], protocol.grammar), protocol.grammar).answer
        except (VircError, ValueError, IndexError):
            said = None
        same = _explains(line.answer, said, replies, protocol) if answer is None else said == answer
        if not same:
            wrote = plain(answer, 60) if answer is not None else f"no answer ({plain(line.answer.failure, 60)})"
            yield Difference("reply", f"its reply says {plain(said, 60)}, its line {wrote}", id)
    if unread:
        notes.append(f"answers of several samples or a pipeline, which are taken as they are written: {unread}")


def _explains(line: AnswerLine, said: str | None, replies: Replies, protocol: Protocol) -> bool:
    """Whether a line without an answer may have its failure and its error, given its replies.

    `said` is the answer in the last reply, None if that has none. A reply with an answer leaves a problem unanswered
    only if the answer is a refusal, or if the reply was rejected.
    """
    kind = (line.error or {}).get("kind")
    if line.failure is None or (kind == NoAnswerError.kind) != (line.failure in _UNANSWERED):
        return False
    if said is None:
        return line.failure != "no_answer" or protocol.errors == "end"  # at a call that cannot be carried out
    if said.casefold() in {"", *(each.strip().casefold() for each in protocol.refusals)}:
        return line.failure == "no_answer"
    rejected = line.failure == "tries" or protocol.reading == "lenient"  # for causes that are not in the file
    return replies.ended == "format" and (rejected or repeats(replies.texts[-1], protocol.repeat_limit))


def _verdicts(file: ResultFile, problems: Problems, notes: list[str]) -> dict[str, Verdict | None]:
    """The verdicts here; those of a judge, and of algebra that is not installed here, are taken from the file.

    A verdict of the file counts only where the rules here find no answer right: an edit could else name a judge.
    """
    head = file.head
    answers = {head.model: {id: line.answer for id, line in file.lines.items()}}
    verdicts = dict[str, Verdict | None]()
    taken_from_file = {"judge": 0, "symbolic": 0}
    try:
        by_rule = verdicts_by_rule(problems, answers, head.algebra)
        undecided_ids = {str(each.problem.id) for each in doubtful(problems, answers, by_rule)}
    except (KeyError, TypeError, AttributeError) as error:  # a published rule reads fields of the row
        says = f"{file.path} has rows that are not those of {plain(head.published)}: {clause(error)}"
        raise DataError(says) from error
    for (_, id), verdict in by_rule.items():
        verdicts[id], written = verdict, file.lines[id].verdict
        decider = "judge" if written is None else written.by  # a judge that failed leaves no verdict
        if decider == "judge":
            is_trusted = head.judge is not None
        else:  # a published rule, if the benchmark has one, decides in place of algebra
            is_trusted = decider == "symbolic" and not can_do_algebra() and not problems[id].right
        if is_trusted and id in undecided_ids:
            verdicts[id] = written
            taken_from_file[decider] += 1
    why = {"judge": f"the judge {plain(head.judge)} decided about", "symbolic": f"need {install('eval')}"}
    taken = {name: count for name, count in taken_from_file.items() if count}
    notes += [f"answers that {why[by]}, whose verdicts are taken as written: {count}" for by, count in taken.items()]
    return verdicts


def _scored_again(file: ResultFile, verdicts: Verdicts, notes: list[str]) -> Iterator[Difference]:
    """Where a verdict differs here: the scorer changed if its code differs, else the file was edited."""
    is_same_code = file.head.rules == rules_digest()
    if not is_same_code:
        version = plain(file.head.versions.get("virc"), 60)
        notes.append(f"the code that scores is not that of virc {version}, which made the file")
    for id, line in file.lines.items():
        ours, theirs = (_WORDS[each.right if each else None] for each in (verdicts.get(id), line.verdict))
        if ours != theirs:
            says = f"it is {ours} here, {theirs} in the file"
            if is_same_code:
                yield Difference("verdict", says, id)
            else:
                yield Difference("scorer", f"the scorer changed: {says}", id)


def _counted_again(file: ResultFile, problems: Problems) -> Iterator[Difference]:
    """Where a figure of the head is not that of the lines."""
    model = file.head.model
    summary = summary_of({model: file}, problems, {model: {id: line.verdict for id, line in file.lines.items()}})
    for path, ours, theirs in _unequal(summary.models[0].fields, file.head.figures):
        yield Difference("figure", f"the figure {path} is {plain(ours, 40)} by the lines, not {plain(theirs, 40)}")


def _unequal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The values that differ: path, value here, value in the file."""
    computed, written = dict(_leaves(ours)), dict(_leaves(theirs))
    for path in {**computed, **written}:
        here, there = computed.get(path, _NONE), written.get(path, _NONE)
        is_close = isinstance(here, float) and isinstance(there, float) and math.isclose(here, there, rel_tol=1e-9)
        if here != there and not is_close:
            yield plain(path, 60), here, there


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested objects and lists, each with its path, such as `models.0.name`."""
    if not isinstance(value, dict | list | tuple):
        yield path, value
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(each, f"{path}.{key}" if path else str(key))


def _benchmark(
    file: ResultFile, name: str | None, problems: Problems, notes: list[str], chosen: Mapping[str, str]
) -> tuple[str, Problems]:
    """The name of the benchmark to compare with, and its problems; those of the file if it is not here."""
    head = file.head
    named = head.published or head.benchmark
    if name is None and named not in names():  # it may be any path
        notes.append(f"its rows are not compared: {plain(named, 80)} is no benchmark by name; --benchmark FILE.jsonl")
        return named, problems
    try:
        benchmark = benchmarks.find(name or named, Path.cwd(), head.split, chosen=chosen)
        ours = problems_of(benchmark, None, lambda _: None, head.crop_ablation, rewarded=True)
    except VircError as error:
        if name:
            raise
        notes.append(f"its rows are not compared: {error.message}")
        return named, problems
    if len(ours) > len(problems):
        notes.append(f"{benchmark.name} here has {len(ours)} problems, the file {len(problems)}")
    return benchmark.name, ours


def _rows(problems: Problems, source: str, expected: Problems) -> Iterator[Difference]:
    """Where a row of the file is not that of `expected`, which `source` names."""
    for id, problem in problems.items():
        known = expected.get(id)
        if known is None or known.digest != problem.digest:
            yield Difference("row", f"its row in {source} here is {'missing' if known is None else 'another'}", id)
        elif msgspec.structs.replace(known, line=0) != problem:
            yield Difference("row", "its question or its reference is not that of the row here", id)
