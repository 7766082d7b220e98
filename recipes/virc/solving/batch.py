"""Many problems and one model: rows in, one result each out, several in work at a time.

What fails in one row costs that row alone; what the endpoint does to every row ends the batch. An endpoint that goes
away is waited for.
"""

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from virc.reasoning.opening.pictures import shown
from virc.solving import evidence, outcome
from virc.solving.ablation import ablated, counterfactual_of
from virc.solving.image_source import Picture, files_of, looked_at, losses, with_scales
from virc.solving.one import SCHEMA, SolveConfig, Solved
from virc.solving.outcome import Fields
from virc.solving.rows import Row, file_name, in_parallel
from virc.solving.sampling.asking import Asking, Grader
from virc.solving.solution import View, view_of
from virc.solving.strategies import registry as strategies
from virc.solving.traces.files import check_writable

HOPELESS_IN_A_ROW = 20
_TIMES = 3  # attempts at a row whose endpoint goes away: a row that crashes the server must not do so forever
LOOK_SECONDS, MAX_SECONDS = 2.0, 300.0  # between two looks at an endpoint that is away, and until it is given up


class Outage:
    """Whether an endpoint that failed a row was away; waits until it is back. Threads may share it."""

    def __init__(self, answers: Callable[[], bool], on_wait: Callable[[str], None]) -> None:
        self._answers, self._on_wait = answers, on_wait
        self._lock = threading.Lock()
        self._left: NetworkError | None = None
        self._back = -math.inf  # monotonic time, s

    def over(self, error: NetworkError, began: float, stop: threading.Event) -> bool:
        """Whether a row begun at `began` (monotonic s) that failed so is to be done again; False when `stop` is set.

        It is where the endpoint was away and is back, is too busy, or broke the connection to this row. A
        NetworkError if the endpoint stayed away.
        """
        with self._lock:  # one row checks, the others wait for its result
            if self._left:
                raise self._left
            if stop.is_set():
                return False
            if self._back > began:
                return True
            if error.wait is not None and error.wait <= MAX_SECONDS:
                stop.wait(error.wait)
                self._back = time.monotonic()
                return not stop.is_set()
            if self._answers():
                return error.broken
            longest = f"{MAX_SECONDS / 60:g} minutes"
            self._on_wait(f"{error.message}; rows in work wait until the endpoint answers, {longest} at most")
            end, back = time.monotonic() + MAX_SECONDS, False
            while not back and time.monotonic() < end:
                back = stop.wait(LOOK_SECONDS) or self._answers()
            if not back:
                sentence = f"the endpoint did not come back within {longest}: {error.message}"
                self._left = NetworkError(sentence, error.hint or "the same command continues from here")
                raise self._left
            self._back = time.monotonic()
            return not stop.is_set()


class BatchConfig(msgspec.Struct, frozen=True):
    """How the rows of a batch are solved.

    Args:
        base: folder that image paths of the rows start from.
        traces: folder in which the trace of every row gets one of its own; None keeps none.
        at_once: rows in work at a time; None: as many as suit the model.
        replies: whether the fields of a row have the `replies` that led to its answer, how they `ended`, and a hash of
            each picture that the model was shown.
        grader: what grades for the strategy, if it has solutions graded.
        views: whether what comes of a row can be shown by a notebook.
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
    """Result of one row: its fields of `virc.solve/1`, or the error; and why its trace was not written, if so.

    `view` is its trace, if the config asks for views.
    """

    row: Row
    fields: Fields
    error: VircError | None = None
    untraced: VircError | None = None
    view: View | None = None


SolveRows = Callable[[Iterable[Row], Claims, Callable[[RowDone], None], Stop | None], None]
"""Solves the rows that are not among the claims; arguments as of `solve_batch`."""


def solve_batch(
    config: BatchConfig,
    opened: Opened,
    rows: Iterable[Row],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    note: Callable[[str], None] = lambda _: None,
    stop: Stop | None = None,
) -> None:
    """Solve every row that is not among `claims`; a row in work when the batch ends is not reported."""
    workers = workers_for(config.at_once, opened, note)
    check_writable(config.traces)
    said: list[str] = []

    def seen(images: Sequence[Shown]) -> None:
        if not said and (text := outcome.over_limit(opened, images)):
            said.append(text)
            note(text)

    def work(row: Row) -> RowDone:
        return _solve_row(config, opened, row, seen)

    through(rows, claims, work, on_row, workers, outage_of(opened, note), stop)


def through(
    rows: Iterable[Row],
    claims: Claims,
    work: Callable[[Row], RowDone],
    on_row: Callable[[RowDone], None],
    workers: int,
    outage: Outage | None = None,
    stop: Stop | None = None,
) -> None:
    """Do `work` on every row still to be done, some at a time; none is reported after this returns or raises."""
    stop, lock, failed = stop or Stop(), threading.Lock(), 0  # rows in a row

    def do(row: Row) -> None:
        nonlocal failed
        for _ in range(_TIMES):
            began = time.monotonic()
            with stop.applied():
                done = _done(row, work)
            if not (outage and isinstance(done.error, NetworkError) and outage.over(done.error, began, stop)):
                break
        with lock:
            if stop.is_set():  # broken off, so that it is done again
                return
            on_row(done)
            failed = failed + 1 if done.error and done.error.fails_all_requests else 0
            if done.error and failed >= HOPELESS_IN_A_ROW:
                raise type(done.error)(
                    f"{failed} rows in a row failed; the last: {done.error.message}", done.error.hint
                )

    try:
        in_parallel(_unanswered(rows, claims), do, workers, stop)
    finally:
        stop.set()
        with lock:  # who is telling comes to an end
            pass


def outage_of(opened: Opened, say: Callable[[str], None]) -> Outage | None:
    return Outage(opened.answers, say) if opened.answers else None


def workers_for(at_once: int | None, opened: Opened, note: Callable[[str], None]) -> int:
    workers = at_once or opened.at_once
    if workers > 1 and opened.together and not opened.together():
        note(f"{opened.name} has layers that keep a state instead of keys and values: rows are answered one at a time")
        return 1
    return workers


def shown_images(
    config: BatchConfig, opened: Opened, row: Row, deadline: Deadline, facts: list[Fields] | None = None
) -> list[Shown]:
    """The pictures of a row as the model sees them; a DataError if one cannot be opened or shown."""

    def seen(source: Picture) -> Shown:
        # small as soon as it is opened: many rows are in work, and each may have many large pictures
        (file,) = files_of([source], config.offline, deadline, config.base)
        terms = Terms(seconds=deadline.left())
        image = shown(*file, opened.chat_protocol.protocol, opened.backend.grid, terms)
        if facts is not None:
            facts.append(looked_at(file, source, image))
        return image

    try:
        images = [seen(picture) for picture in row.pictures]
        if not images:  # the model finds some
            return images
        ablation = config.solving.crop_ablation
        named = [counterfactual_of(row).image] if ablation == "counterfactual" else row.swapped
        others = [seen(picture) for picture in named] or images
        return [ablated(image, ablation, others[at % len(others)]) for at, image in enumerate(images)]
    except NetworkError as error:  # not our endpoint's fault, but that of the address in the row
        raise DataError(error.message, error.hint) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def made_with(known: Fields) -> Fields:
    shared = {"model": known["model"], "protocol": known["protocol"], **known["settings"]}
    del shared["timeout"]  # it says when to give up, not what to answer
    return shared


def as_line(done: RowDone, known: Mapping[str, object], schema: str = SCHEMA) -> bytes:
    row = done.row
    fields = {"schema": schema, "id": row.id, "row": row.digest, **known, **done.fields}
    fields |= {"error": fields_of(done.error) if done.error else None, "input": row.passed}
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=msgspec.to_builtins)
    # half a character, as in a file name that is no UTF-8, cannot stand in JSON that everyone reads
    return re.sub("[\ud800-\udfff]", lambda half: rf"\\u{ord(half[0]):04x}", text).encode()


def _unanswered(rows: Iterable[Row], claims: Claims) -> Iterator[Row]:
    for row in rows:
        try:
            if row.id is None or row.digest is None or claims.claim(row.id, row.digest):
                yield row
        except DataError as fault:
            yield msgspec.structs.replace(row, fault=fault)


def _done(row: Row, work: Callable[[Row], RowDone]) -> RowDone:
    try:
        if row.fault:
            raise row.fault
        return work(row)
    except KeyboardInterrupt:  # `stop` is set: it is not reported
        return RowDone(row, {})
    except Exception as error:  # a fault of ours in one row must not cost the others
        return RowDone(row, {}, as_virc_error(error))


def _solve_row(config: BatchConfig, opened: Opened, row: Row, on_images: Callable[[Sequence[Shown]], None]) -> RowDone:
    began, deadline = time.monotonic(), Deadline(config.solving.timeout)
    solving = msgspec.structs.replace(config.solving, seed=derived(config.solving.seed, row.id))
    folder = config.traces / file_name(str(row.id)) if config.traces else None
    folders = outcome.trace_folders(folder, solving) if folder else []
    has_boxes = bool({"boxes", "box"} & row.passed.keys())
    protocol = opened.reading() if has_boxes else opened.chat_protocol.protocol  # its answer may be a box
    seen: list[Fields] = []
    images = shown_images(config, opened, row, deadline, seen)
    on_images(images)
    del seen[len(row.pictures) :]  # those of another row, for crops
    choices = [str(choice) for choice in row.passed.get("choices") or ()]
    asked = (solving, opened.backend, protocol, images, row.question, deadline, choices)
    solved = strategies.solve(Asking(*asked, grader=config.grader))
    if isinstance(solved.error, KeyboardInterrupt):
        raise solved.error
    untraced = outcome.write_traces(folders, solved, solving, outcome.facts(opened, solving))
    fields = outcome.outcome(solved) | {"trace": str(folder) if folder and not untraced else None}
    fields |= outcome.conduct(solved) | {
        "pictures": with_scales(seen, images),
        "warnings": losses(seen, row.pictures) + outcome.notices(solved),
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


def _evidence(row: Row, image: Shown, solved: Solved) -> Fields:
    try:
        boxes = evidence.of_fields(row.passed)
    except DataError:
        boxes = None
    if not boxes:
        return {}
    shares = evidence.shown(boxes, image.original or image.size, outcome.chosen(solved).trace.images)
    return {"evidence": [round(share, 4) for share in shares]}
