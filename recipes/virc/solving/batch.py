"""Many problems and one model: rows in, one result each out, several in work at a time.

An error of one row costs that row alone; if row after row fails alike, the batch ends. If the endpoint goes away, the
batch waits for it (`Outage`). Read `solve_batch` first: `through` does the rows, and `_solve_row` solves one.
"""

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NetworkError, VircError, as_virc_error, fields_of
from virc.core.limits.image_memory import Terms
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.timeouts import Deadline, Stop
from virc.models.load import Opened
from virc.reasoning.calls import BoxView
from virc.reasoning.images import Shown
from virc.reasoning.media import MediaChoice, give_media
from virc.reasoning.opening.pictures import shown
from virc.solving import evidence, outcome
from virc.solving.ablation import ablated, counterfactual_of
from virc.solving.asking import Asking, Grader
from virc.solving.image_source import (
    Picture,
    Unfolded,
    looked_at,
    losses,
    page_file,
    said_of,
    sources_of,
    unfolded,
    with_scales,
)
from virc.solving.one import SCHEMA, SolveConfig, Solved, check_time
from virc.solving.outcome import Fields
from virc.solving.rows import ProblemRow, file_name, in_parallel
from virc.solving.solution import View, view_of
from virc.solving.strategies import registry as strategies
from virc.solving.traces.files import check_writable

HOPELESS_IN_A_ROW = 20
SeenPicture = tuple[Fields, Unfolded]  # the facts of a picture, and what it was unfolded as, without its file
_TIMES = 3  # attempts at a row whose endpoint goes away: the row itself may crash the server
LOOK_SECONDS, MAX_SECONDS = 2.0, 300.0  # between two checks of an endpoint that is away, and until it is given up


class Outage:
    """Whether an endpoint that failed a row was away; waits until it is back. Threads may share it."""

    def __init__(self, answers: Callable[[], bool], on_wait: Callable[[str], None]) -> None:
        self._answers, self._on_wait = answers, on_wait
        self._lock = threading.Lock()
        self._given_up: NetworkError | None = None
        self._back_at = -math.inf  # monotonic time (s) at which it was back the last time

    def over(self, error: NetworkError, began: float, stop: threading.Event) -> bool:
        """Whether to do a row again that began at `began` (monotonic s) and failed; False if `stop` is set.

        It is done again if the endpoint was away and is back, was too busy, or broke the connection of this row.

        Raises:
            NetworkError: the endpoint stays away.
        """
        with self._lock:  # one row checks, the others wait for its result
            if self._given_up:
                raise self._given_up
            if stop.is_set():
                return False
            if self._back_at > began:
                return True
            if error.wait is not None and error.wait <= MAX_SECONDS:
                stop.wait(error.wait)
                self._back_at = time.monotonic()
                return not stop.is_set()
            if self._answers():
                return error.broken
            longest = f"{MAX_SECONDS / 60:g} minutes"
            self._on_wait(f"{error.message}; rows in work wait until the endpoint answers, {longest} at most")
            end, is_over = time.monotonic() + MAX_SECONDS, False
            while not is_over and time.monotonic() < end:
                is_over = stop.wait(LOOK_SECONDS) or self._answers()
            if not is_over:
                sentence = f"the endpoint did not come back within {longest}: {error.message}"
                self._given_up = NetworkError(sentence, error.unspelled_hint or "the same command continues from here")
                raise self._given_up
            self._back_at = time.monotonic()
            return not stop.is_set()


class BatchConfig(msgspec.Struct, frozen=True):
    """How the rows of a batch are solved.

    Args:
        base: folder that image paths of the rows start from.
        traces: folder with a folder for the trace of each row; None: no traces.
        at_once: rows in work at a time; None: as many as suit the model.
        replies: whether the result of a row has the `replies` that led to its answer, how they `ended`, and a hash of
            each picture that the model was shown.
        grader: grades solutions, if the strategy needs it.
        views: whether results have a `view`, for notebooks.
    """

    solving: SolveConfig
    base: Path = Path()
    traces: Path | None = None
    offline: bool = False
    at_once: int | None = None
    replies: bool = False
    grader: Grader | None = None
    views: bool = False


class RowDone(msgspec.Struct, frozen=True):
    """Result of one row: its fields of `virc.solve/1`, or the error; `untraced`: why its trace could not be written.

    `view` shows its trace in a notebook, if the config asks for views.
    """

    row: ProblemRow
    fields: Fields
    error: VircError | None = None
    untraced: VircError | None = None
    view: View | None = None


SolveRows = Callable[[Iterable[ProblemRow], Claims, Callable[[RowDone], None], Stop | None], None]
"""Solves the rows that are not among the claims; arguments as of `solve_batch`."""


def solve_batch(
    config: BatchConfig,
    opened: Opened,
    rows: Iterable[ProblemRow],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    note: Callable[[str], None] = lambda _: None,
    stop: Stop | None = None,
) -> None:
    """Solve every row that is not among `claims`; a row in work when the batch ends is not reported."""
    workers = workers_for(config.at_once, opened, note)
    check_writable(config.traces)
    noted: list[str] = []
    are_parts, media = set[bool](), config.solving.media

    def look_at(images: Sequence[Shown]) -> None:
        are_parts.update(image.place is not None for image in images)
        if not noted and (text := outcome.over_limit(opened, images)):
            noted.append(text)
            note(text)

    def work(row: ProblemRow) -> RowDone:
        return _solve_row(config, opened, row, look_at)

    through(rows, claims, work, on_row, workers, outage_of(opened, note), stop)
    if are_parts == {False} and media != MediaChoice(media.pages):
        note("«--at», «--fps» and «--frames» choose in clips, and no row has one")


def through(
    rows: Iterable[ProblemRow],
    claims: Claims,
    work: Callable[[ProblemRow], RowDone],
    on_row: Callable[[RowDone], None],
    workers: int,
    outage: Outage | None = None,
    stop: Stop | None = None,
) -> None:
    """Do `work` on every row that `claims` lacks, some at a time; no row is reported after this returns or raises."""
    stop, lock, failed_in_a_row = stop or Stop(), threading.Lock(), 0

    def do(row: ProblemRow) -> None:
        nonlocal failed_in_a_row
        if not claims.may_begin():  # another row reached the limit after this one was taken
            return
        for _ in range(_TIMES):
            began = time.monotonic()
            with stop.applied():
                done = _done(row, work)
            if not (outage and isinstance(done.error, NetworkError) and outage.over(done.error, began, stop)):
                break
        with lock:
            if stop.is_set():  # broken off: the next run does it again
                return
            on_row(done)
            failed_in_a_row = failed_in_a_row + 1 if done.error and done.error.fails_all_requests else 0
            if done.error and failed_in_a_row >= HOPELESS_IN_A_ROW:
                sentence = f"{failed_in_a_row} rows in a row failed; the last: {done.error.message}"
                raise type(done.error)(sentence, done.error.unspelled_hint)

    try:
        in_parallel(_unanswered(rows, claims), do, workers, stop)
    finally:
        stop.set()
        with lock:  # wait for the thread that reports a row
            pass


def outage_of(opened: Opened, say: Callable[[str], None]) -> Outage | None:
    return Outage(opened.answers, say) if opened.answers else None


def workers_for(at_once: int | None, opened: Opened, note: Callable[[str], None]) -> int:
    workers = at_once or opened.at_once
    if workers > 1 and not opened.concurrent:
        note(f"{opened.name} answers one row at a time in this process; a server answers more («--endpoint URL»)")
        return 1
    return workers


def shown_images(
    config: BatchConfig, opened: Opened, row: ProblemRow, deadline: Deadline, facts: list[SeenPicture] | None = None
) -> list[Shown]:
    """The pictures of a row as the model sees them; a DataError if one cannot be opened or shown.

    `facts` gets those of each picture that is opened: of the row, then of another row, if crops are cut from that.
    """

    def opened_files(pictures: Sequence[Picture], fields: Fields) -> Iterator[Shown]:
        # small as soon as it is opened: many rows are in work, and each may have many large pictures
        sources = (sources_of([each], config.offline, deadline, config.base, row.trusted)[0] for each in pictures)
        check, choice = partial(check_time, deadline), config.solving.media
        for part in unfolded(sources, pictures, choice, check=check, row=fields):
            page = None if part.place else next(iter(choice.pages), None)
            file, terms = page_file(part.file, page, part.given) if page else part.file, Terms(seconds=deadline.left())
            image = shown(*file, opened.chat_protocol, opened.backend.grid, terms)
            image.place, image.medium = part.place, part.medium
            if facts is not None:
                seen = looked_at(part.file, part.given, image, page)
                facts.append((seen, msgspec.structs.replace(part, file=(b"", ""))))
            yield image

    try:
        images = [*opened_files(row.pictures, row.passed)]
        if not images:  # the model finds some
            return images
        give_media(images, row.passed, config.base)
        ablation = config.solving.crop_ablation
        other_pictures = [counterfactual_of(row).image] if ablation == "counterfactual" else row.swapped
        others = [*opened_files(other_pictures, {})] or images
        changed = [ablated(image, ablation, others[at % len(others)]) for at, image in enumerate(images)]
        for image, other in zip(images, changed, strict=True):
            other.place = image.place
        return changed
    except (DataError, NetworkError) as error:  # the fault of a picture in the row, not of the endpoint
        raise DataError(error.args[0], error.unspelled_hint) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def shared_settings(known: Fields) -> Fields:
    """What all lines of a file of answers must share, so that a rerun may continue it."""
    shared = {"model": known["model"], "protocol": known["protocol"], **known["settings"]}
    del shared["timeout"]  # it says when to give up, not what to answer
    return shared


def as_line(done: RowDone, known: Mapping[str, object], schema: str = SCHEMA) -> bytes:
    row = done.row
    fields = {"schema": schema, "id": row.id, "row": row.digest, **known, **done.fields}
    fields |= {"error": fields_of(done.error) if done.error else None, "input": row.passed}
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=msgspec.to_builtins)
    # a lone surrogate, as in a file name that is not UTF-8, cannot be encoded: it becomes a JSON escape
    return re.sub("[\ud800-\udfff]", lambda surrogate: rf"\\u{ord(surrogate[0]):04x}", text).encode()


def _unanswered(rows: Iterable[ProblemRow], claims: Claims) -> Iterator[ProblemRow]:
    for row in rows:
        try:
            if row.id is None or row.digest is None or claims.claim(row.id, row.digest):
                if not claims.may_begin():
                    return
                yield row
        except DataError as fault:
            yield msgspec.structs.replace(row, fault=fault)


def _done(row: ProblemRow, work: Callable[[ProblemRow], RowDone]) -> RowDone:
    try:
        if row.fault:
            raise row.fault
        return work(row)
    except KeyboardInterrupt:  # `stop` is set: it is not reported
        return RowDone(row, {})
    except Exception as error:  # a bug of virc in one row must not cost the others
        return RowDone(row, {}, as_virc_error(error))


def _solve_row(
    config: BatchConfig, opened: Opened, row: ProblemRow, on_images: Callable[[Sequence[Shown]], None]
) -> RowDone:
    began, deadline = time.monotonic(), Deadline(config.solving.timeout)
    solving = msgspec.structs.replace(config.solving, seed=derived(config.solving.seed, row.id))
    folder = config.traces / file_name(str(row.id)) if config.traces else None
    folders = outcome.trace_folders(folder, solving) if folder else []
    has_boxes = bool({"boxes", "box"} & row.passed.keys())
    protocol = opened.reading() if has_boxes else opened.chat_protocol  # its answer may be a box
    facts: list[SeenPicture] = []
    images = shown_images(config, opened, row, deadline, facts)
    on_images(images)
    seen, parts = [each for each, _ in facts[: len(images)]], [each for _, each in facts[: len(images)]]
    choices = [str(choice) for choice in row.passed.get("choices") or ()]
    asking = (solving, opened.backend, protocol, images, row.question, deadline, choices)
    solved = strategies.solve(Asking(*asking, grader=config.grader))
    if isinstance(solved.error, KeyboardInterrupt):
        raise solved.error
    untraced = outcome.write_traces(folders, solved, solving, outcome.facts(opened, solving)) if folders else None
    fields = outcome.outcome(solved) | {"trace": str(folder) if folder and not untraced else None}
    fields |= outcome.conduct(solved) | {
        "pictures": with_scales(seen, images),
        "warnings": said_of(parts) + losses(seen, [each.given for each in parts]) + outcome.notices(solved),
    }
    if config.replies:
        fields["rollout"] = outcome.replies_of(solved)
        fields["digests"] = [each.digest.hex() for each in outcome.chosen(solved).images]
        sizes = [image.original or image.size for image in images]
        regions = evidence.crops(outcome.chosen(solved).trace.images, sizes)
        fields["regions"] = [(root, [round(side, 4) for side in region]) for root, region in regions]
    if images and has_boxes:
        image = images[0]
        fields["view"] = BoxView([image.size], protocol.coordinates, protocol.box, [image.original or image.size])
    fields |= _evidence(row, images[0], solved) if images else {}
    fields["seconds"] = round(time.monotonic() - began, 3)
    error = outcome.failure_of(solved, opened)
    assert error is None or isinstance(error, VircError)
    view = view_of(outcome.chosen(solved), outcome.facts(opened, solving)) if config.views and solved.attempts else None
    return RowDone(row, fields, error, untraced, view)


def _evidence(row: ProblemRow, image: Shown, solved: Solved) -> Fields:
    try:
        boxes = evidence.of_fields(row.passed)
    except DataError:
        boxes = None
    if not boxes:
        return {}
    shares = evidence.shown(boxes, image.original or image.size, outcome.chosen(solved).trace.images)
    return {"evidence": [round(share, 4) for share in shares]}
