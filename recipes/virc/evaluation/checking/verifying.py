"""Scores files of results again from their replies, without the model or the pictures, and says what differs."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.errors import DataError, NetworkError, NoAnswerError, VircError
from virc.core.extras import install
from virc.core.files import is_file
from virc.core.text import clause, counted, plain
from virc.evaluation import signing
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.looks import ARMS, AS_IT_IS
from virc.evaluation.problems import EvalProblem, problems_of
from virc.evaluation.results import ResultFile, in_arm, read, rules_digest
from virc.evaluation.scored import Scored, results_of
from virc.evaluation.summary import Score, Summary, summarise
from virc.evaluation.verdicts import can_do_algebra, doubtful, verdicts_by_rule
from virc.evaluation.writing import facts_of, looks_of
from virc.reasoning.messages import parse, stopped
from virc.reasoning.protocol import Protocol
from virc.reasoning.repetition import repeats
from virc.reasoning.trace import Replies
from virc.scoring.score import Verdict

_Kind = Literal["lines", "reply", "verdict", "figure", "signature", "row", "scorer"]
_NONE = "missing"
_CHANGED = ("row", "scorer")  # may have changed since; all else is an edit of the file, or damage
_UNANSWERED = ("no_answer", "turns", "tries")  # of the model, so that the problem counts; others are missing
_WORDS = {None: "undecided", True: "right", False: "wrong"}

Problems = Mapping[str, EvalProblem]
Verdicts = Mapping[str, Verdict | None]
"""Id -> what was decided of its answer; None if nothing was."""


class Difference(msgspec.Struct, frozen=True):
    kind: _Kind
    says: str
    id: str | None = None

    def __str__(self) -> str:
        return self.says if self.id is None else f"problem {plain(self.id, 60)}: {self.says}"


class Verified(msgspec.Struct, frozen=True):
    """What a file comes to when it is scored again.

    Args:
        score: by the replies and the rules here.
        missing: problems without a result, which are not counted.
        unanswered: problems with a result, but no answer.
        looks: the verdict on looking, by the files of the arms next to this one; None without them.
        notes: what could not be checked, or is no fault.
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
        """Raise a NetworkError if the file was edited, else a DataError if rows or the scorer are others."""
        edited = [each for each in self.differences if each.kind not in _CHANGED]
        if found := edited or self.differences:
            firsts = {each.kind: each for each in reversed(found)}.values()
            first = "; ".join(map(str, sorted(firsts, key=found.index))) + "; …" * (len(found) > len(firsts))
            error = NetworkError if edited else DataError
            raise error(f"{self.file} has {counted(len(found), 'difference')}: {first}")


def verify(path: Path, benchmark: str | None = None, signer: str | None = None) -> Verified:
    """Score a file again.

    Args:
        benchmark: with whose rows those of the file are compared; None: the known benchmark that the file names.
        signer: who must have signed it, as of `signing.check`.

    Raises:
        DataError: it is no such file.
        VircError: the benchmark that was named cannot be read.
    """
    return verify_file(read(path), benchmark, signer)


def verify_file(
    file: ResultFile, benchmark: str | None = None, signer: str | None = None, expected: Problems | None = None
) -> Verified:
    """As `verify`, of a file that was read; of an arm `expected` are the problems as they are, which it must have."""
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
    where, rows = ("the file", expected) if expected else _benchmark(file, benchmark, problems, notes)
    differences += _rows(problems, where, rows)
    looks, changed = _looked_again(file, problems, verdicts, notes)
    differences += changed
    try:
        signed = signing.check(file.path, signer)
    except NetworkError as error:
        differences.append(Difference("signature", error.message))
    (model,) = summary_of({head.model: file}, problems, {head.model: verdicts}).models
    score, missing, unanswered = model.score, model.missing, model.unanswered
    facts = (str(file.path), head.benchmark, head.model, head.digest, score, missing, unanswered)
    return Verified(*facts, looks, differences, notes, signed)


def _looked_again(
    file: ResultFile, problems: Problems, verdicts: Verdicts, notes: list[str]
) -> tuple[str | None, list[Difference]]:
    """The verdict on looking by the replies in all arms, and if that of the file or a file of an arm differs."""
    head = file.head
    if head.looks is None:
        return None, []
    paths = {name: in_arm(file.path, name) for name in ARMS if name != AS_IT_IS}
    if lost := next((path for path in paths.values() if not is_file(path)), None):
        notes.append(
            f"the verdict on looking is taken as it is written: {lost.parent.name}/{lost.name} is not next to the file"
        )
        return None, []
    found, differences = [_scored(head.model, file, problems, verdicts)], list[Difference]()
    for name, path in paths.items():
        arm = read(path)
        own = arm.head.digest, arm.head.model, arm.head.crop_ablation, arm.lines.keys()
        if own != (head.arms.get(name), head.model, ARMS[name].ablation, file.lines.keys()):
            differences.append(Difference("lines", f"{path.name} is not the file of its arm"))
        differences += [
            msgspec.structs.replace(each, says=f"{path.name}: {each.says}")
            for each in verify_file(arm, expected=problems).differences
        ]
        found.append(_scored(head.model, arm, problems, {id: line.verdict for id, line in arm.lines.items()}))
    (looks,) = looks_of(found)
    if any(_unequal(looks, head.looks)):
        differences.append(Difference("figure", f"its verdict on looking is by the replies: {looks.sentence}"))
    return looks.sentence, differences


def _scored(model: str, file: ResultFile, problems: Problems, verdicts: Verdicts) -> Scored:
    answers = {model: {id: line.answer for id, line in file.lines.items()}}
    decided = {(model, id): each for id, each in verdicts.items()}
    return Scored(answers, decided, None, {}, results_of(None, problems, answers, decided, {}))


def summary_of(files: Mapping[str, ResultFile], problems: Problems, verdicts: Mapping[str, Verdicts]) -> Summary:
    answers = {name: {id: line.answer for id, line in file.lines.items()} for name, file in files.items()}
    decided = {(name, id): each for name, of in verdicts.items() for id, each in of.items()}
    head, results = next(iter(files.values())).head, results_of(None, problems, answers, decided, {})
    return summarise(head.benchmark, results, facts_of(answers), head.crop_ablation)


def _seals(file: ResultFile) -> Iterator[Difference]:
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
    """Where a line is of another model or crop ablation than the file, or was drawn otherwise than the first."""
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
    try:
        protocol = msgspec.convert(file.head.chat_protocol, Protocol | None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file.path} has a chat protocol that is not valid: {clause(error)}") from error
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
    """Whether the failure and the error of a line without an answer are what such replies come to."""
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
    """The verdicts here; those of a judge, and of algebra that is not here, are taken from the file."""
    head = file.head
    answers = {head.model: {id: line.answer for id, line in file.lines.items()}}
    found = dict[str, Verdict | None]()
    taken = {"judge": 0, "symbolic": 0}
    try:
        by_rule = verdicts_by_rule(problems, answers, head.algebra)
        open_ = {str(each.problem.id) for each in doubtful(problems, answers, by_rule)}
    except (KeyError, TypeError, AttributeError) as error:  # a published rule reads fields of the row
        says = f"{file.path} has rows that are not those of {plain(head.published)}: {clause(error)}"
        raise DataError(says) from error
    for (_, id), verdict in by_rule.items():
        found[id], given = verdict, file.lines[id].verdict
        by = "judge" if given is None else given.by
        trusted = head.judge is not None if by == "judge" else by == "symbolic" and not can_do_algebra()
        if trusted and id in open_ and not (by == "symbolic" and problems[id].right):
            found[id] = given
            taken[by] += 1
    why = {"judge": f"the judge {plain(head.judge)} decided about", "symbolic": f"need {install('eval')}"}
    notes += [f"answers that {why[by]}, whose verdicts are taken as written: {n}" for by, n in taken.items() if n]
    return found


def _scored_again(file: ResultFile, verdicts: Verdicts, notes: list[str]) -> Iterator[Difference]:
    """Where a verdict is another here: the scorer's doing if its code is another, else an edit."""
    same = file.head.rules == rules_digest()
    if not same:
        version = plain(file.head.versions.get("virc"), 60)
        notes.append(f"the code that scores is not that of virc {version}, which made the file")
    for id, line in file.lines.items():
        ours, theirs = (_WORDS[each.right if each else None] for each in (verdicts.get(id), line.verdict))
        if ours != theirs:
            says = f"it is {ours} here, {theirs} in the file"
            yield Difference("verdict" if same else "scorer", says if same else f"the scorer changed: {says}", id)


def _counted_again(file: ResultFile, problems: Problems) -> Iterator[Difference]:
    model = file.head.model
    summary = summary_of({model: file}, problems, {model: {id: line.verdict for id, line in file.lines.items()}})
    for path, own, figure in _unequal(summary.models[0], file.head.figures):
        yield Difference("figure", f"the figure {path} is {plain(own, 40)} by the lines, not {plain(figure, 40)}")


def _unequal(ours: msgspec.Struct, theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The values that differ, by their places: own and that of the file."""
    own, written = dict(_leaves(msgspec.to_builtins(ours))), dict(_leaves(theirs))
    for path in {**own, **written}:
        one, other = own.get(path, _NONE), written.get(path, _NONE)
        close = isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9)
        if one != other and not close:
            yield plain(path, 60), one, other


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list | tuple):
        yield path, value
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(each, f"{path}.{key}" if path else str(key))


def _benchmark(file: ResultFile, name: str | None, problems: Problems, notes: list[str]) -> tuple[str, Problems]:
    """The benchmark to compare with and its problems; those of the file if there is none here."""
    head = file.head
    named = head.published or head.benchmark
    if name is None and named not in benchmarks.known():  # it may be any path
        notes.append(f"its rows are not compared: {plain(named, 80)} is no benchmark by name; --benchmark FILE.jsonl")
        return named, problems
    try:
        found = benchmarks.find(name or named, Path.cwd(), head.split)
        ours = problems_of(found, None, lambda _: None, head.crop_ablation, rewarded=True)
    except VircError as error:
        if name:
            raise
        notes.append(f"its rows are not compared: {error.message}")
        return named, problems
    if len(ours) > len(problems):
        notes.append(f"{found.name} here has {len(ours)} problems, the file {len(problems)}")
    return found.name, ours


def _rows(problems: Problems, where: str, expected: Problems) -> Iterator[Difference]:
    for id, problem in problems.items():
        own = expected.get(id)
        if own is None or own.digest != problem.digest:
            yield Difference("row", f"its row in {where} here is {'missing' if own is None else 'another'}", id)
        elif msgspec.structs.replace(own, line=0) != problem:
            yield Difference("row", "its question or its reference is not that of the row here", id)
