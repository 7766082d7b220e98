"""The file of a result: what a model answered on a benchmark, and all that its figures are computed from.

Line 1 is the head, each further line a problem: its line of `answers/MODEL.jsonl` without paths, with its verdict and a
SHA-256 of itself and of the line before. The head has the last of these, the figures, and a SHA-256 of itself.

`write` makes a file of a `Head` and of lines of `line_of`; the extra `studies` reads and checks it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core import entry_points
from virc.core.errors import NoAnswerError, class_name
from virc.core.files import write_whole
from virc.evaluation import benchmarks
from virc.evaluation.answers import AnswerLine
from virc.evaluation.columns import Arm
from virc.scoring.score import Verdict
from virc.solving.ablation import CropAblation
from virc.solving.one import SCHEMA as SOLVE
from virc.solving.rows import ProblemRow

SCHEMA = "virc.result/1"
_RULES = ("scoring", "evaluation/benchmarks", *(f"evaluation/{each}.py" for each in ("boxes", "problems", "verdicts")))
_KEPT = (
    "schema id row model protocol family coordinates device settings versions answer turns replies calls tokens votes "
    "strategy rejected failure view evidence regions seconds rollout digests error input"
).split()
"""The fields of a line of answers that are published: none has a path of this machine."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line.

    Args:
        problems: lines that follow, one for each problem.
        published: the published benchmark of these rows, whose rule scores if it has one; None for a user's file.
        chat_protocol: the chat protocol of the model: prompts, how replies are read, sampling; None for a pipeline.
        versions: versions of the packages that scored it.
        algebra: whether math-verify decided what the rules could not.
        judge: the judge that decided about answers that neither finds right; None without one.
        rules: hash of the code that scores.
        figures: those of the model, as in `virc.eval/1`.
        looks: the verdict on looking, as there; None if the problems were asked in one arm.
        arms: the digests of the files of the other arms, which `in_arm` names.
        last: the digest of the last line.
        digest: of the head, and so of the whole file.
    """

    schema: str = SCHEMA
    benchmark: str
    published: str | None
    split: str | None
    crop_ablation: CropAblation
    model: str
    problems: int
    chat_protocol: dict[str, Any] | None
    versions: Mapping[str, str]
    algebra: bool
    judge: str | None
    rules: str
    figures: dict[str, Any]
    looks: dict[str, Any] | None = None
    arms: Mapping[str, str] = {}
    last: str = ""
    digest: str = ""

    @property
    def sealed(self) -> "Head":
        alone = msgspec.structs.replace(self, digest="")
        return msgspec.structs.replace(self, digest=digest_of(msgspec.to_builtins(alone)))


def rules_digest() -> str:
    root = Path(benchmarks.__file__).parents[2]
    of_extras = {entry_points.source(module) for module in entry_points.own("virc.benchmarks").values()}
    paths = [*(root / each for each in _RULES), *(file.parent for file in of_extras if file)]
    files = {file for path in paths for file in ([path] if path.suffix else path.rglob("*.py"))}
    return digest_of(sorted(digest_of(file.read_text("utf-8")) for file in files))


def in_arm(path: Path, arm: Arm) -> Path:
    folder = Path(arm.folder)
    return path.with_name(f"{path.stem}.{folder.parent}") / f"{folder.name}.jsonl"


def line_of(row: ProblemRow, answered: Mapping[str, Any] | None, model: str, verdict: Verdict | None) -> dict[str, Any]:
    missing = {"code": 1, "kind": "missing", "message": "no answer was kept", "hint": None}
    fields = answered or {"schema": SOLVE, "id": row.id, "row": row.digest, "answer": None, "error": missing}
    kept = {key: fields[key] for key in _KEPT if key in fields}
    if answered and (error := kept.get("error")) and error["kind"] != NoAnswerError.kind:
        kept["error"] = {**error, "message": class_name(error), "hint": None}  # its own may have a path
    return {**kept, "model": model, "input": row.passed, "verdict": msgspec.to_builtins(verdict)}


def write(path: Path, head: Head, lines: Iterable[dict[str, Any]]) -> Head:
    text, last = list[bytes](), ""
    for line in lines:
        fields = {**line, "replied": msgspec.convert(line, AnswerLine).replies_digest}
        last = digest_of([last, fields])
        text.append(msgspec.json.encode({**fields, "digest": last}))
    sealed = msgspec.structs.replace(head, last=last).sealed
    write_whole(path, b"\n".join([msgspec.json.encode(sealed), *text, b""]))
    return sealed


def digest_of(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
