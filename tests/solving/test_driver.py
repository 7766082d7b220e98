"""The driver: what it draws again, when it gives up, and that whatever happened is kept."""

import signal
import threading
from collections.abc import Callable, Sequence
from itertools import groupby

import pytest
from PIL import Image
from support.solving import CROP, answer, call
from support.tables import each_case

from virc.backends.interface import OnText, Sampling
from virc.core.errors import ConfigError, DataError, NetworkError, NoAnswerError
from virc.reasoning.images import Shown
from virc.reasoning.media import MediaPlace
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Rejected, Reply, Unit
from virc.solving.one import Event, SampleStart, SolveConfig, Solved, TextDelta, ToolResult, solve

Act = Callable[[], str]


class Scripted:
    """Plays replies in the order they are asked for, and remembers how; a callable is run for its text."""

    model = "scripted"
    grid = Grid()

    def __init__(self, *replies: str | Reply | Act) -> None:
        self.replies = iter(replies)
        self.samplings: list[Sampling] = []
        self.asks: list[Ask] = []
        self.seconds: list[float | None] = []

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        self.asks.append(ask)
        self.seconds.append(seconds)
        self.samplings.append(sampling)
        reply = next(self.replies)
        if isinstance(reply, Reply):
            return reply
        text = reply if isinstance(reply, str) else reply()
        if on_text:
            on_text(text)
        return Reply(text, prompt_tokens=100, completion_tokens=len(text))

    def close(self) -> None:
        pass


def failing(error: BaseException) -> Act:
    def act() -> str:
        raise error

    return act


def run(
    protocol: Protocol,
    *replies: str | Reply | Act,
    config: SolveConfig | None = None,
    told: Sequence[Event] = (),
    image: Shown | None = None,
) -> tuple[Solved, Scripted]:
    backend = Scripted(*replies)
    shown = image or Image.new("RGB", (112, 84), "white")
    heard = told.append if isinstance(told, list) else lambda _: None
    return solve(config or SolveConfig(), backend, protocol, [shown], "Find x", on_event=heard), backend


def test_it_gives_up_after_four_tries_and_says_why(own: Protocol) -> None:
    solved, backend = run(own, CROP, "no", "no", "no", "nothing")
    assert solved.answer is None
    assert isinstance(solved.error, NoAnswerError)
    trace = solved.attempts[0].trace
    assert trace.failure
    assert trace.failure.kind == "tries"
    assert trace.failure.message == f"4 replies in a row could not be used; the last: {trace.pending[-1].reason}"
    assert solved.error.hint is None
    assert (len(backend.samplings), len(trace.units), len(trace.pending)) == (5, 1, 4)


def test_every_reply_is_drawn_from_a_seed_of_its_own_and_a_further_try_is_warmer(own: Protocol) -> None:
    replies = ("no", "no", CROP, answer("1"))
    config = SolveConfig(samples=2)
    drawn, again = ([*run(own, *replies, *replies, config=config)[1].samplings] for _ in range(2))
    assert len({sampling.seed for sampling in drawn}) == 8
    assert drawn == again
    greedy = [sampling.temperature for sampling in run(own, *replies)[1].samplings]
    assert greedy[0] == greedy[3] == 0
    assert 0 < greedy[1] < greedy[2]


def test_a_model_that_refuses_is_not_asked_again(own: Protocol) -> None:
    solved, backend = run(own, Reply("", refusal="it may not"), answer("1"))
    assert isinstance(solved.error, NoAnswerError)
    assert (solved.error.message, len(backend.asks)) == ("the model does not answer: it may not", 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NetworkError("gone"), "network"), (ConfigError("key refused"), "engine"), (KeyboardInterrupt(), "interrupted")],
)
def test_what_breaks_it_off_leaves_the_trace_up_to_there(error: BaseException, kind: str, own: Protocol) -> None:
    solved, _ = run(own, CROP, "no", failing(error))
    assert (solved.error, solved.answer) == (error, None)
    trace = solved.attempts[0].trace
    assert trace.failure
    assert (trace.failure.kind, trace.failure.message) == (kind, str(error) or "interrupted")
    assert (len(trace.units), len(trace.pending)) == (1, 1)


def test_a_backend_that_hangs_is_left_when_the_time_is_over(own: Protocol) -> None:
    forever = threading.Event()

    def hang() -> str:
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # the time is over, however long the turn before it took
        return str(forever.wait(60))

    frame = Shown(Image.new("RGB", (112, 84)))
    frame.place = MediaPlace("clip", 1, "Frame 1 at 0:00:", "")
    solved, _ = run(own, CROP, hang, config=SolveConfig(timeout=30), image=frame)
    assert isinstance(solved.error, NetworkError)
    assert "30 s" in solved.error.message
    assert "fewer frames or pages" in (solved.error.hint or "")
    assert len(solved.attempts[0].trace.units) == 1


def test_events_tell_every_piece_unit_and_rejected_try(own: Protocol) -> None:
    told: list[Event] = []
    run(own, "no", CROP, call("display_image", image_index=1), answer("97"), told=told)
    kinds = [kind for kind, _ in groupby(map(type, told))]  # the text of a reply comes in one piece or several
    accepted = [TextDelta, Unit, ToolResult]
    assert kinds == [SampleStart, TextDelta, Rejected, *accepted, *accepted, TextDelta, Unit]
    results = [each for each in told if isinstance(each, ToolResult)]
    made = [[(index, shown.size) for index, shown in each.images] for each in results]
    assert made == [[(1, (56, 56))], [(2, (56, 56))]]
    assert [each.source and each.source.size for each in results] == [(112, 84), (56, 56)]


def test_a_limit_of_tokens_is_that_of_all_replies_and_three_replies_before_it_the_answer_is_asked_for(
    own: Protocol,
) -> None:
    crops = [call("crop_image", bbox_2d=[0, 0, side, 28], image_index=0) for side in range(30, 39)]
    limit = 4 * (100 + len(crops[0]))  # of four replies
    solved, backend = run(own, *crops, config=SolveConfig(max_tokens_total=limit))
    assert ["final answer now" in ask.messages[-1].text for ask in backend.asks] == [False, False, True, True]
    failure = solved.attempts[0].trace.failure
    assert failure
    assert (failure.kind, failure.message) == ("turns", f"no answer within --max-tokens-total {limit}")
    said = "the limit of requests or tokens is near: the model is asked for its answer"
    assert solved.attempts[0].notices == (said,)


@pytest.mark.parametrize(
    ("replies", "found", "message"),
    [
        ((failing(DataError("odd")), answer("unreadable")), None, "none of 2 samples has an answer; the first: the mo"),
        ((failing(DataError("odd")), failing(DataError("last"))), None, "last"),
        ((failing(DataError("odd")), answer("1"), failing(DataError("last"))), "1", "None"),
    ],
)
def test_a_sample_that_breaks_by_itself_counts_as_one_without_an_answer(
    replies: tuple[str | Act, ...], found: str | None, message: str, own: Protocol
) -> None:
    solved, _ = run(own, *replies, config=SolveConfig(samples=len(replies)))
    assert (solved.answer, len(solved.attempts)) == (found, len(replies))
    assert str(solved.error).startswith(message)


@each_case(
    ("replies", "said"),
    [
        ((CROP, answer("3")) * 3, True),  # as transformers serve 5.24.0 does: greedy at any temperature
        ((CROP, answer("3")) * 2, False),
        ((CROP, answer("3")) * 2 + (CROP, answer("4")), False),
        ((answer("3"),) * 3, False),  # short replies are often the same
    ],
)
def test_samples_that_are_one_text_are_said_once(own: Protocol, replies: tuple[str, ...], said: bool) -> None:
    samples = sum("<answer>" in each for each in replies)
    solved, _ = run(own, *replies, config=SolveConfig(samples=samples, temperature=0.9))
    told = [text for attempt in solved.attempts for text in attempt.notices if "all samples are one text" in text]
    assert len(told) == said
