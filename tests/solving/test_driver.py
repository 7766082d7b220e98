"""The driver: what it draws again, when it gives up, and that whatever happened is kept."""

import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest
from PIL import Image
from support.solving import CROP, answer, call

from virc.backends.interface import OnText, Sampling
from virc.core.errors import ConfigError, DataError, NetworkError, NoAnswerError
from virc.core.timeouts import Deadline
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Rejected, Reply, Unit
from virc.solving import outcome
from virc.solving.one import Event, SampleStart, SolveConfig, Solved, Spent, TextDelta, ToolResult, solve, spent_on

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
    protocol: Protocol, *replies: str | Reply | Act, config: SolveConfig | None = None, told: Sequence[Event] = ()
) -> tuple[Solved, Scripted]:
    backend = Scripted(*replies)
    image = Image.new("RGB", (112, 84), "white")
    heard = told.append if isinstance(told, list) else lambda _: None
    return solve(config or SolveConfig(), backend, protocol, [image], "Find x", on_event=heard), backend


def test_an_answer_comes_with_its_trace_and_images(own: Protocol) -> None:
    solved, _ = run(own, CROP, answer("97"))
    assert (solved.answer, solved.error) == ("97", None)
    (attempt,) = solved.attempts
    assert [unit.answer for unit in attempt.trace.units] == [None, "97"]
    assert [image.size for image in attempt.images] == [(112, 84), (56, 56)]
    assert attempt.trace.failure is None


def test_a_picture_is_encoded_once_for_all_samples(own: Protocol) -> None:
    replies = (call("display_image", image_index=0), answer("97")) * 4
    solved, backend = run(own, *replies, config=SolveConfig(samples=4))
    shown = {id(image): image for ask in backend.asks for image in ask.images}.values()
    assert len({image.data_url for image in shown}) == 1
    assert sum(image.encodings for image in shown) == 1
    assert [len(attempt.images) for attempt in solved.attempts] == [2] * 4


def test_the_first_try_is_greedy_and_every_further_one_warmer_from_another_seed(own: Protocol) -> None:
    _, backend = run(own, "no", "no", "no", answer("1"), config=SolveConfig(seed=7))
    temperatures = [sampling.temperature for sampling in backend.samplings]
    assert temperatures[0] == 0
    assert temperatures == sorted(set(temperatures))
    assert len({sampling.seed for sampling in backend.samplings}) == 4
    assert backend.samplings[0].top_k is None


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


def test_a_turn_ends_with_two_replies_in_a_row_that_the_token_limit_cuts(own: Protocol) -> None:
    cut = Reply("<think>AB is", finish="length")
    solved, backend = run(own, "no tags", cut, cut, answer("5"))
    assert (solved.answer, len(backend.samplings)) == (None, 3)
    assert isinstance(solved.error, NoAnswerError)
    assert solved.error.hint == "--max-tokens N allows longer replies"
    assert run(own, cut, "no tags", cut, answer("5"))[0].answer == "5"


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

    solved, _ = run(own, CROP, hang, config=SolveConfig(timeout=30))
    assert isinstance(solved.error, NetworkError)
    assert "30 s" in solved.error.message
    assert len(solved.attempts[0].trace.units) == 1


def test_events_tell_every_piece_unit_and_rejected_try(own: Protocol) -> None:
    told: list[Event] = []
    run(own, "no", CROP, call("display_image", image_index=1), answer("97"), told=told)
    kinds = [type(event) for event in told]
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


class Told(Scripted):
    """A model that turns out to count boxes in thousandths."""

    def calibrate(self, protocol: Protocol, *_: object) -> Protocol:
        return msgspec.structs.replace(protocol, coordinates="thousand")


def test_the_first_box_is_read_as_the_model_turns_out_to_count(own: Protocol) -> None:
    stock = msgspec.structs.replace(own, reading="lenient")
    half = call("crop_image", bbox_2d=[0, 0, 1000, 500], image_index=0)
    solved = solve(SolveConfig(), Told(half, answer("97")), stock, [Image.new("RGB", (112, 84))], "Find x")
    (attempt,) = solved.attempts
    assert [each.box for each in attempt.trace.units[0].calls] == [(0, 0, 112, 42)]
    assert outcome.outcome(solved)["coordinates"] == "thousand"


def test_votes_are_counted_by_the_choices_and_samples_left_are_told(own: Protocol) -> None:
    backend, left = Scripted(answer("A"), answer("red"), answer("blue")), list[int]()
    solved = solve(
        SolveConfig(samples=3), backend, own, [Image.new("RGB", (112, 84))], "Which?", choices=("red", "blue"),
        enough=lambda votes, count: bool(left.append(count)),  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert (solved.votes, left) == ([("A", 2), ("blue", 1)], [2, 1, 0])


def test_every_turn_is_drawn_from_a_seed_of_its_own(own: Protocol) -> None:
    """From one seed, replies take the same way wherever shares are alike, and err together."""
    drawn = [
        [sampling.seed for sampling in run(own, CROP, CROP, answer("1"), config=config)[1].samplings]
        for config in (SolveConfig(), SolveConfig(), SolveConfig(seed=1))
    ]
    assert drawn[0] == drawn[1]
    assert len({*drawn[0], *drawn[2]}) == 6


def test_no_seed_is_used_twice_among_samples_and_their_tries(own: Protocol) -> None:
    replies = ["no", "no", "no", answer("1")] * 3
    _, backend = run(own, *replies, config=SolveConfig(samples=3))
    assert len({sampling.seed for sampling in backend.samplings}) == 12


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


def test_what_would_end_every_sample_alike_ends_the_problem(own: Protocol) -> None:
    refused = DataError("all")
    refused.fails_all_requests = True
    solved, backend = run(own, failing(refused), answer("1"), config=SolveConfig(samples=2))
    assert (solved.answer, solved.error, len(backend.asks)) == (None, refused, 1)


def test_every_reply_gets_the_time_that_is_left(own: Protocol) -> None:
    _, backend = run(own, "no", CROP, answer("1"), answer("1"), config=SolveConfig(timeout=30, samples=2))
    times = [seconds for seconds in backend.seconds if seconds is not None]
    assert len(times) == 4
    assert 30 >= times[0] > times[1] > times[2] > times[3] > 0
    _, backend = run(own, answer("1"))
    assert backend.seconds == [None]


def test_costs_of_a_grader_are_added_to_those_of_the_samples(own: Protocol) -> None:
    graded = [Reply("", prompt_tokens=5, completion_tokens=7), Reply("")]
    spent = spent_on(graded) + Spent(10, 20, 30)
    assert spent == Spent(12, 25, 37)
    solved, _ = run(own, answer("1"), answer("1"), config=SolveConfig(samples=2))
    solved = msgspec.structs.replace(solved, overhead=spent, seconds=2.5, scores=[None, 0.5], remarks=["odd", "good"])
    tokens = {"prompt": 225, "completion": 2 * len(answer("1")) + 37}
    fields = outcome.outcome(solved)
    assert (fields["tokens"], fields["replies"], fields["votes"]) == (tokens, 14, [{"answer": "1", "count": 2}])
    assert fields["strategy"] == {
        "samples": 2, "scores": [None, 0.5], "remarks": ["odd", "good"],
        "cost": {"replies": 14, **tokens, "seconds": 2.5},
    }  # fmt: skip
    untold = run(own, Reply(answer("97")))[0].attempts[0]
    assert (untold.prompt_tokens, untold.completion_tokens) == (None, None)


class Silent(Scripted):
    """Says nothing before its whole reply, at whose end the time is over."""

    deadline = Deadline(600)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        self.deadline._end = 0.0
        return super().reply(ask, sampling, None, seconds)


def test_nothing_is_drawn_after_the_end_of_the_time(own: Protocol) -> None:
    backend, picture = Silent(CROP, answer("1")), Image.new("RGB", (112, 84))
    work = partial(solve, SolveConfig(), backend, own, [picture], "Find x", deadline=backend.deadline)
    thread = threading.Thread(target=work)  # where the time is not rung in
    thread.start()
    thread.join()
    assert len(backend.asks) == 1
