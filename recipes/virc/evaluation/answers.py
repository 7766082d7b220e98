"""The folder of an evaluation, and the answers in it.

    answers/MODEL.jsonl     `virc.solve/1` lines; a rerun resumes
    results/MODEL.jsonl     `virc.result/1`: answers and figures of a model, to hand on and to verify
    traces/MODEL/ID/        pages of the answers
    looks/ARM/              the same problems asked in another way, as a folder like this one
    rewards/ENVIRONMENT/MODEL.jsonl   what the reward of an environment gives each answer
    judged/JUDGE.jsonl      what a judge said of answers that no rule finds right
    summary.json            `virc.eval/1`
    report.html             the same to look at
    problems.html, pictures/   each problem to look through, see `problem_page`

Every model with answers to the same problems in the folder is compared, whichever command asked it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from virc.core.errors import ConfigError, DataError, NoAnswerError
from virc.core.result_log import Id, Ledger
from virc.core.text import clause
from virc.evaluation.problems import BenchmarkProblem
from virc.reasoning.calls import BoxView
from virc.reasoning.trace import FailureKind, Replies
from virc.scoring.boxes import Box
from virc.solving.ablation import CropAblation
from virc.solving.rows import file_name

EVALS = "evals"


class EvalFolder(msgspec.Struct, frozen=True):
    folder: Path

    def answers(self, model: str) -> Path:
        return self.folder / "answers" / f"{file_name(model)}.jsonl"

    def traces(self, model: str) -> Path:
        return self.folder / "traces" / file_name(model)

    def judged(self, judge: str) -> Path:
        return self.folder / "judged" / f"{file_name(judge)}.jsonl"

    def rewards(self, environment: str, model: str) -> Path:
        return self.folder / "rewards" / file_name(environment) / f"{file_name(model)}.jsonl"

    def result(self, model: str) -> Path:
        return self.folder / "results" / f"{file_name(model)}.jsonl"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def problems(self) -> Path:
        return self.folder / "problems.html"


class AnswerLine(msgspec.Struct, frozen=True):
    id: Id | None
    row: str | None
    model: str | None
    answer: str | None
    error: dict[str, Any] | None
    protocol: str | None = None
    device: str | None = None
    settings: dict[str, Any] | None = None
    turns: int | None = None
    calls: dict[str, int] | None = None
    tokens: dict[str, int | None] | None = None
    seconds: float | None = None
    cost: float | None = None
    replies: int | None = None
    rejected: int = 0
    failure: FailureKind | None = None
    view: BoxView | None = None
    evidence: list[float] | None = None
    rollout: Replies | None = None
    regions: Sequence[tuple[int, Box]] = ()

    @property
    def replies_digest(self) -> str:
        """A hash of all that the model replied (of a pipeline its answer), and of the settings it was asked with."""
        return hashed(msgspec.json.encode([self.rollout or self.answer, self.settings], order="sorted"))

    @property
    def facts(self) -> dict[str, Any]:
        return {"protocol": self.protocol, "settings": {"device": self.device, **(self.settings or {})}}

    @property
    def crop_ablation(self) -> str:
        """What its crops were cut from."""
        return str((self.settings or {}).get("crop_ablation", "none"))

    def answers(self, problem: BenchmarkProblem | None) -> bool:
        failed = self.error is not None and self.error.get("kind") != NoAnswerError.kind
        return problem is not None and self.row == problem.digest and not failed


Answers = Mapping[str, Mapping[str, AnswerLine]]
"""Model -> id -> its line."""


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def default_folder(benchmark: str, crop_ablation: CropAblation) -> Path:
    return Path(EVALS) / (benchmark if crop_ablation == "none" else f"{benchmark}-{crop_ablation}")


def check_crop_ablation(folder: EvalFolder, crop_ablation: CropAblation) -> None:
    """Refuse a folder with answers of another crop ablation: they are no answers to the same problems."""
    for file in _files(folder):
        theirs = next((line.crop_ablation for line in _lines(file)), crop_ablation)
        if theirs != crop_ablation:
            hint = (
                f"«--to NEW_FOLDER», or «--crop-ablation {theirs}»"
                if theirs in get_args(CropAblation)
                else "«--to NEW_FOLDER»"
            )
            raise ConfigError(f"{file} holds answers of the crop ablation {theirs}, not {crop_ablation}", hint)


def answered_before(model: str, problems: Mapping[str, BenchmarkProblem], ledger: Ledger) -> int:
    """How many of the problems a former run has answered; a DataError if some have changed since."""
    before = {id: ledger.before(problem.id) for id, problem in problems.items()}
    changed = [id for id, digest in before.items() if digest not in (None, problems[id].digest)]
    if changed:
        sentence = f"problems that changed since {model} answered them: {len(changed)}, the first is {changed[0]!r}"
        raise DataError(sentence, f"use another «--to», or take their lines out of {ledger.path}")
    return sum(digest is not None for digest in before.values())


def answers_in(folder: EvalFolder, first: Sequence[str]) -> dict[str, dict[str, AnswerLine]]:
    """The lines of every model in the folder, failed rows too: model -> id -> line, the models of `first` first."""
    found = {}
    for file in _files(folder):
        lines = list(_lines(file))
        if lines and lines[0].model is not None:
            found[lines[0].model] = {str(line.id): line for line in lines}
    order = [name for name in first if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def _files(folder: EvalFolder) -> list[Path]:
    return sorted((folder.folder / "answers").glob("*.jsonl"))


def _lines(file: Path) -> Iterator[AnswerLine]:
    with file.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.endswith(b"\n"):  # it is being written, or the process that wrote it was killed
                return
            try:
                yield msgspec.json.decode(text, type=AnswerLine)
            except (ValueError, RecursionError) as error:
                sentence = f"{file} holds something else than answers: line {number}: {clause(error)}"
                raise DataError(sentence, "move it out of that folder") from error
