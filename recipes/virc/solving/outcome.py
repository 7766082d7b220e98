"""The output of a problem, solved or not: the fields of `virc.solve/1` (`outcome`), and its traces (`write_traces`)."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from virc.config.taken import Left
from virc.core.errors import VircError
from virc.core.events import Reporter
from virc.core.files import write_whole, writing
from virc.core.text import counted
from virc.core.web import html
from virc.models.load import Opened
from virc.models.registry import REAL_MODELS
from virc.reasoning.images import Shown
from virc.reasoning.media import USUAL_MEDIA
from virc.reasoning.protocol import USUAL
from virc.reasoning.trace import Replies
from virc.solving.one import Attempt, SolveConfig, Solved
from virc.solving.traces.files import check_folder, write_trace

PAGE = "index.html"
_OURS = '<meta name="generator" content="virc samples">'
Fields = dict[str, Any]


class Listed(msgspec.Struct, frozen=True):
    """A sample in the index page of a problem; `taken`: its answer is that of the problem."""

    folder: str
    answer: str | None
    score: float | None = None
    remark: str | None = None
    taken: bool = False


def write_index(folder: Path, question: str, samples: Sequence[Listed]) -> None:
    page, style = folder / PAGE, html.asset("solving/traces/page.css")
    facts: Fields = {"question": question, "byline": counted(len(samples), "sample"), "samples": samples}
    facts["is_graded"] = any(each.score is not None or each.remark for each in samples)
    rendered = html.render("solving/traces/sample_index", style, ours=_OURS, **facts)
    with writing(page):
        if page.exists() and _OURS not in page.read_text(encoding="utf-8", errors="replace"):
            return
        write_whole(page, rendered.encode("utf-8", "backslashreplace"))


def facts(opened: Opened, config: SolveConfig) -> Fields:
    return {
        "model": opened.name,
        "protocol": opened.chat_protocol.name,
        "family": opened.family,
        "coordinates": opened.coordinates,
        "protocol_from": opened.why or None,
        "loaded": opened.loaded and msgspec.to_builtins(opened.loaded),
        "device": opened.device,
        "settings": settings(config, opened.backend.grid.max_pixels, opened),
    }


def settings(config: SolveConfig, max_pixels: int | None, opened: Opened | None = None) -> Fields:
    """How a problem is solved. `chat_protocol` is a hash of the chat protocol, None until it is known."""
    protocol = opened and msgspec.json.encode(opened.chat_protocol)
    usual = opened.chat_protocol.sampling if opened else USUAL
    # these fields are left out where they have their defaults
    rare: Fields = {} if config.crop_ablation == "none" else {"crop_ablation": config.crop_ablation}
    if config.media != USUAL_MEDIA:
        rare["media"] = msgspec.to_builtins(config.media)
    chosen = {name: getattr(config, name) for name in ("strategy", "judge", "max_requests", "max_tokens_total")}
    chosen |= {name: getattr(usual, name) for name in ("repetition_penalty", "top_p", "top_k")}
    chosen["min_p"] = usual.min_p if config.min_p is None else config.min_p
    rare |= {name: value for name, value in chosen.items() if value is not None}
    if opened and opened.backend.grid.longest:
        rare["longest"] = opened.backend.grid.longest
    return rare | {
        "max_pixels": max_pixels,
        "max_turns": config.max_turns,
        "max_tokens": config.longest(usual) if opened else config.max_tokens,
        "timeout": config.timeout,
        "temperature": config.first_temperature(usual),
        "seed": config.seed,
        "samples": config.samples,
        "chat_protocol": protocol and hashlib.sha256(protocol).hexdigest()[:16],
    }


def outcome(solved: Solved, opened: Opened | None = None, known: Fields | None = None) -> Fields:
    """Fields of the result; with what is not read of the files of an open model, and the settings that were sent."""
    sample = chosen(solved)
    refused = getattr(opened and opened.backend, "left_out", ())
    sent = {name: value for name, value in (known or {}).get("settings", {}).items() if name not in refused}
    fields: Fields = ({"settings": sent} if sent else {}) | {
        "answer": solved.answer,
        "turns": len(sample.trace.turns),
        "replies": solved.replies,
        "calls": dict(Counter(call.name for unit in sample.trace.turns for call in unit.calls)),
        "tokens": {"prompt": solved.prompt_tokens, "completion": solved.completion_tokens},
    }
    if solved.cost is not None:
        fields["cost"] = solved.cost
    if left := [*(opened.left.fields() if opened else ()), *_left(solved).fields()]:
        fields["left"] = left
    if any(call.box for unit in sample.trace.turns for call in unit.calls):  # it may have been found out on the way
        fields["coordinates"] = sample.trace.protocol.coordinates
    if len(solved.attempts) > 1:
        fields["votes"] = [{"answer": answer, "count": count} for answer, count in solved.votes]
    if solved.seconds is not None:
        fields["strategy"] = {
            "samples": len(solved.attempts),
            **({} if solved.scores is None else {"scores": list(solved.scores)}),
            **({} if solved.remarks is None else {"remarks": list(solved.remarks)}),
            "cost": {"replies": solved.replies, **fields["tokens"], "seconds": solved.seconds},
        }
    return fields


def over_limit(opened: Opened, images: Sequence[Shown]) -> str | None:
    most, fits = opened.backend.grid.max_pixels, opened.chat_protocol.images == "smart"
    if not fits or all(math.prod(each.original or each.size) <= most for each in images):
        return None
    return f"images with more than the {most:,} pixels that {opened.name} sees are shown smaller"


def _left(solved: Solved) -> Left:
    left = Left()
    for edge, name in (each for attempt in solved.attempts for each in attempt.left):
        left.add(edge, [name])
    return left


def told(solved: Solved, report: Reporter) -> list[str]:
    """The notices, and the sentences on what is not used of replies, which are reported here."""
    sentences = [*_left(solved).sentences()]
    for sentence in sentences:
        report.note(sentence)
    return notices(solved) + sentences


def notices(solved: Solved) -> list[str]:
    return list(dict.fromkeys(text for attempt in solved.attempts for text in attempt.notices))


def conduct(solved: Solved) -> Fields:
    trace = chosen(solved).trace
    rejected = len(trace.pending) + sum(len(unit.rejected) for unit in trace.units)
    return {"rejected": rejected, "failure": trace.failure.kind if trace.failure else None}


def replies_of(solved: Solved) -> Replies:
    trace = chosen(solved).trace
    return msgspec.structs.replace(trace, pending=trace.pending[-1:]).replies


def chosen(solved: Solved) -> Attempt:
    if solved.chosen is not None:
        return solved.attempts[solved.chosen]
    return next((one for one in solved.attempts if one.trace.answer == solved.answer), solved.attempts[-1])


def failure_of(solved: Solved, opened: Opened) -> BaseException | None:
    error = solved.error
    if isinstance(error, VircError) and error.kind == "no_answer" and opened.embedded:
        error.hint = error.unspelled_hint or REAL_MODELS
    return error


def trace_folders(folder: Path, config: SolveConfig) -> list[Path]:
    samples = range(1, config.samples + 1)
    folders = [folder / f"sample-{number}" for number in samples] if config.samples > 1 else [folder]
    for each in folders:
        check_folder(each)
    return folders


def write_traces(
    folders: Sequence[Path],
    solved: Solved,
    config: SolveConfig,
    known: Mapping[str, Any],
    beside: Callable[[Path], Mapping[str, object]] = lambda _: {},
) -> VircError | None:
    """Write the trace of every attempt; returns the error of the disk, as an answer is worth more than its trace.

    `beside` has further fields of the record in a folder.
    """
    if not folders:
        return None
    attempts = solved.attempts
    tries = config.samplings(attempts[0].trace.protocol.sampling) if attempts else []
    meta = {
        "model": known["model"],
        "device": known["device"],
        "sampling": {**known["settings"], "tries": msgspec.to_builtins(tries)},
        "versions": versions(),
    }
    try:
        # a sample that was broken off has no successor
        for folder, attempt in zip(folders, attempts, strict=False):
            write_trace(folder, attempt.trace, attempt.images, meta | {"seconds": attempt.seconds, **beside(folder)})
        if config.samples > 1 and attempts:
            write_index(folders[0].parent, attempts[0].trace.question, _listed(folders, solved))
    except VircError as refused:
        return refused
    return None


def _listed(folders: Sequence[Path], solved: Solved) -> list[Listed]:
    unknown = [None] * len(solved.attempts)
    rows = zip(folders, solved.attempts, solved.scores or unknown, solved.remarks or unknown, strict=False)
    taken = None if solved.answer is None else chosen(solved)
    return [
        Listed(folder.name, attempt.trace.answer, score, remark, attempt is taken)
        for folder, attempt, score, remark in rows
    ]


def versions() -> dict[str, str]:
    return {name: found for name in ("virc", "torch", "transformers") if (found := _version(name))}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
