"""One problem, from pictures and a question to an answer: draws replies and feeds them to a Session.

A rejected reply is drawn again at a higher temperature, so that a greedy failure does not repeat. Read `solve` first,
then `Sampler.turns`, which draws one attempt; before them stand the configuration, the events and the results.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from PIL import Image

from virc.backends.interface import Backend, Calibrate, Sampling, ScoredReply
from virc.core.errors import DataError, NetworkError, NoAnswerError, VircError
from virc.core.options import spelled
from virc.core.seeds import derived
from virc.core.timeouts import Deadline, TimeUp
from virc.models.calibration import asks_for_box
from virc.models.chat_protocol import needs_picture
from virc.models.costs import Price, total_cost
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.marks.special_tokens import TurnStream
from virc.reasoning.media import USUAL_MEDIA, MediaChoice
from virc.reasoning.protocol import USUAL, Drawing, Protocol
from virc.reasoning.session import SOLVE, Ask, Rejected, Reply, Session, Unit
from virc.reasoning.trace import CallResult, FailureKind, RejectionKind, Trace
from virc.solving import shortening
from virc.solving.ablation import CropAblation
from virc.solving.replies import REPEATED, Repeated, checked
from virc.solving.votes import Tally, tally
from virc.tools.registry import check_ready, known

SCHEMA = "virc.solve/1"
RETRY_TEMPERATURES = (0.0, 0.5, 0.8, 1.0)
"""The least temperature of each try of a turn; the last holds for all that follow."""
_HINTS: Mapping[RejectionKind, str] = {
    "length": "«--max-tokens N» allows longer replies",
    "unit": "`virc doctor --endpoint URL` finds out how the model counts boxes; «--family NAME» says which it is",
    "json": "`virc doctor --endpoint URL` finds out how the model's calls come",
    "tags": "`virc doctor --endpoint URL` finds out how the model's calls and answers come",
}
"""The hint for a turn that was given up, by the fault of its last reply."""
_CUT_EARLY = "; the server ended it after"
_CUT = 2  # a turn is given up after so many replies in a row that the token limit cut
_TOP_P, _TOP_K = 0.95, 50  # of ViRC's published runs


class SolveConfig(msgspec.Struct, frozen=True):
    """How a problem is solved.

    Args: as of the options of the same names, and
        temperature: of every first try; None: as the chat protocol says, else 0, or 1 when there are several samples.
        top_p, top_k, min_p: of every try that is not greedy; None: as the chat protocol says, else those of ViRC's
            runs.
        seed: of the problem; each of its replies has one of its own, derived from it.
        tries: replies drawn for one turn.
        max_tokens: None: as the chat protocol says, else 1024.
        keep_images: whether an attempt keeps the images shown in it, as its trace needs them.
        tolerate: the deviations of tool calls that are forgiven.
        crop_ablation: what the crops of a row of a batch are cut from.
        strategy: as `strategies.registry.resolved` writes it, with `samples`; None: by vote.
        judge: who grades for the strategy, in words; None: no judge.
        price: of the model's tokens; None: a reply costs what its server says.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: int = 0
    samples: Annotated[int, Meta(ge=1, le=1000)] = 1
    timeout: Annotated[float, Meta(gt=0)] | None = None
    max_turns: Annotated[int, Meta(ge=1, le=1000)] = 16
    tries: int = 4
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    keep_images: bool = True
    tolerate: frozenset[str] = SOLVE
    crop_ablation: CropAblation = "none"
    strategy: str | None = None
    judge: str | None = None
    max_requests: Annotated[int, Meta(ge=1)] | None = None
    max_tokens_total: Annotated[int, Meta(ge=1)] | None = None
    price: Price | None = None
    media: MediaChoice = USUAL_MEDIA

    def first_temperature(self, usual: Drawing = USUAL) -> float:
        """The temperature of every first try; `usual` is the chat protocol's."""
        chosen = (self.temperature, usual.temperature, float(self.samples > 1))
        return next(temperature for temperature in chosen if temperature is not None)

    def longest(self, usual: Drawing = USUAL) -> int:
        return self.max_tokens or usual.max_tokens or Sampling().max_tokens

    def samplings(self, usual: Drawing = USUAL) -> list[Sampling]:
        """How each try of a turn is drawn, but for its seed; `usual` is the chat protocol's."""
        greedy = Sampling(max_tokens=self.longest(usual), repetition_penalty=usual.repetition_penalty)
        top_p = next((each for each in (self.top_p, usual.top_p) if each is not None), None)
        top_k = next(each for each in (self.top_k, usual.top_k, _TOP_K) if each is not None)
        nucleus = msgspec.structs.replace(
            greedy, top_p=top_p or _TOP_P, top_k=top_k if top_k > 0 else None, is_usual=top_p is None,
            min_p=usual.min_p if self.min_p is None else self.min_p,
        )  # fmt: skip
        least = [RETRY_TEMPERATURES[min(attempt, len(RETRY_TEMPERATURES) - 1)] for attempt in range(self.tries)]
        temperatures = [max(self.first_temperature(usual), each) for each in least]
        return [msgspec.structs.replace(nucleus, temperature=each) if each else greedy for each in temperatures]


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of a reply while it is generated."""

    text: str


class Notice(msgspec.Struct, frozen=True):
    """A sentence on what was done to a conversation because room, requests or tokens ran out."""

    text: str


class SampleStart(msgspec.Struct, frozen=True):
    """A sample begins, the `number`th of `total` from 1."""

    number: int
    total: int


class GradeGiven(msgspec.Struct, frozen=True):
    """The grade of a solution, 0 to 1 (a reward has a scale of its own); None if it could not be graded."""

    value: float | None
    remark: str | None = None


class ToolResult(msgspec.Struct, frozen=True):
    """The result of a tool call of an accepted unit."""

    unit: Unit
    result: CallResult
    images: Sequence[tuple[int, Shown]] = ()
    source: Shown | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One sample: its trace, finished or not, the images shown, and the exception that ended it early, if one did.

    `replies` counts all replies to the last question, `seconds` has the time for those of each of its units, the
    rejected ones included, and `left` what is not used of them.
    """

    trace: Trace
    images: Sequence[Shown]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    broken: BaseException | None = None
    replies: int = 0
    seconds: tuple[float, ...] | None = None
    notices: tuple[str, ...] = ()
    cost: float | None = None
    left: tuple[tuple[str, str], ...] = ()


class Spent(msgspec.Struct, frozen=True):
    """Cost of requests: the number of replies, tokens read and drawn as far as they are known, and money."""

    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.replies + other.replies,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            total_cost((each.replies, each.cost) for each in (self, other)),
        )


def spent_on(replies: Sequence[Reply]) -> Spent:
    prompt = [reply.prompt_tokens for reply in replies if reply.prompt_tokens is not None]
    completion = [reply.completion_tokens for reply in replies if reply.completion_tokens is not None]
    return Spent(len(replies), sum(prompt), sum(completion), total_cost((1, reply.cost) for reply in replies))


class Solved(msgspec.Struct, frozen=True):
    """Result of one problem: an answer, or the error that ended it (KeyboardInterrupt included).

    Args:
        choices: of the question, by which votes are counted.
        seconds: time of a strategy; None without one.
        chosen: the place of the attempt that gave the answer; None: the first with that answer.
        scores: the grade of each attempt, by which one was chosen; None for one without a grade.
        remarks: for each attempt the remark of its grader, or why it has no grade.
        overhead: replies and tokens in addition to those of the attempts.
    """

    attempts: Sequence[Attempt]
    answer: str | None = None
    error: BaseException | None = None
    choices: Sequence[str] = ()
    seconds: float | None = None
    chosen: int | None = None
    scores: Sequence[float | None] | None = None
    remarks: Sequence[str | None] | None = None
    overhead: Spent = Spent()

    @property
    def votes(self) -> list[tuple[str | None, int]]:
        return tally((attempt.trace.answer for attempt in self.attempts), self.choices).votes

    @property
    def prompt_tokens(self) -> int | None:
        return _total([*(each.prompt_tokens for each in self.attempts), self.overhead.prompt_tokens or None])

    @property
    def completion_tokens(self) -> int | None:
        return _total([*(each.completion_tokens for each in self.attempts), self.overhead.completion_tokens or None])

    @property
    def cost(self) -> float | None:
        attempts = [(each.replies, each.cost) for each in self.attempts]
        return total_cost([*attempts, (self.overhead.replies, self.overhead.cost)])

    @property
    def replies(self) -> int:
        return sum(attempt.replies for attempt in self.attempts) + self.overhead.replies


Event = SampleStart | Notice | TextDelta | Unit | Rejected | ToolResult | GradeGiven
OnEvent = Callable[[Event], None]


def solve(
    config: SolveConfig,
    backend: Backend,
    protocol: Protocol,
    images: Sequence[Image.Image | OpenedImage | Shown],
    question: str,
    *,
    on_event: OnEvent = lambda _: None,
    deadline: Deadline | None = None,
    choices: Sequence[str] = (),
    enough: Callable[[Tally, int], bool] = lambda votes, left: False,
    former: Trace | None = None,
) -> Solved:
    """Solve one problem: the answer is the commonest of the samples.

    A sample that failed counts as one without an answer. If all samples failed, or the others would fail alike
    (`is_fatal`), the problem has the error of the last one.

    Args:
        images: upright RGB (`open_file`, `open_image`); or as a session shows them. At least one, unless the chat
            protocol offers a tool that finds pictures.
        on_event: gets every piece of text, accepted unit, tool result and rejected try as it comes. What it raises
            ends the attempt as a failure of the backend does.
        deadline: the end of the time for the problem; None: the config's timeout from now.
        choices: contents of the choices of the question, if there are some.
        enough: gets the votes so far and the number of samples left, and says whether to stop.
        former: a conversation about the same images with an answer, after which the question is asked.
    """
    done, votes = list[Attempt](), Tally(choices)
    asked: dict[str, Any] = {"on_event": on_event, "deadline": deadline, "former": former}
    for attempt in attempts(config, backend, protocol, images, question, **asked):
        done.append(attempt)
        votes.add(attempt.trace.answer)
        last = len(done) == config.samples and all(each.broken for each in done)
        if attempt.broken and (last or is_fatal(attempt.broken)):
            return Solved(done, error=attempt.broken, choices=choices)
        if enough(votes, config.samples - len(done)):
            break
    if _are_one_text(done):
        on_event(Notice(_ONE_TEXT))
        done[-1] = msgspec.structs.replace(done[-1], notices=(*done[-1].notices, _ONE_TEXT))
    return _voted(done, choices)


_ONE_TEXT = (
    "all samples are one text, so their votes say nothing: the server may draw none by chance, as transformers serve "
    'unless the model\'s generation_config.json has "do_sample": true'
)
_MIN_SAMPLES, _MIN_TEXT = 3, 80  # characters: short replies are often the same


def _are_one_text(attempts: Sequence[Attempt]) -> bool:
    texts = {attempt.trace.replies.texts for attempt in attempts}
    return len(attempts) >= _MIN_SAMPLES and len(texts) == 1 and len("".join(texts.pop())) >= _MIN_TEXT


def is_fatal(broken: BaseException) -> bool:
    """Whether what ended one sample would end the others, too."""
    return not isinstance(broken, VircError) or isinstance(broken, NetworkError) or broken.fails_all_requests


def attempts(
    config: SolveConfig,
    backend: Backend,
    protocol: Protocol,
    images: Sequence[Image.Image | OpenedImage | Shown],
    question: str,
    *,
    on_event: OnEvent = lambda _: None,
    deadline: Deadline | None = None,
    former: Trace | None = None,
) -> Iterator[Attempt]:
    deadline = deadline or Deadline(config.timeout)
    prepared = images
    for sample in range(config.samples):
        session = session_of(config, backend, protocol, prepared, question, former)
        prepared = session.images[: len(images)]  # resized and encoded once for all samples
        on_event(SampleStart(sample + 1, config.samples))
        yield draw_attempt(session, Sampler(backend, config, sample, deadline, on_event))


def session_of(
    config: SolveConfig,
    backend: Backend,
    protocol: Protocol,
    images: Sequence[Image.Image | OpenedImage | Shown],
    question: str,
    former: Trace | None = None,
) -> Session:
    """A session that asks the question, after the conversation `former` where there is one.

    Raises:
        DataError: an image cannot be shown, or the conversation has become another one.
    """
    check_ready(protocol.tools)
    if not images and needs_picture(protocol):
        raise DataError("there is no image, and none of the model's tools finds any")
    try:
        session = Session(
            protocol,
            former.questions[0] if former else question,
            images,
            backend.grid,
            tolerate=config.tolerate,
            max_turns=config.max_turns,
            tools=known(),
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    if former:
        if not session.replay(former):
            sentence = "the conversation cannot be made again: its images or what its tools return are others now"
            raise DataError(sentence, "give the same «--max-pixels», or leave «--continue» out")
        session.ask(question)
    return session


class Sampler:
    """Draws the turns of a session.

    Args:
        sample: its number, from which the seeds of its replies are derived.

    Attributes:
        replies: all replies so far, the rejected ones included.
        left: edges and names (`config.taken`) of what is not used of them.
        seconds: the time for each of these.
    """

    def __init__(
        self, backend: Backend, config: SolveConfig, sample: int, deadline: Deadline, on_event: OnEvent
    ) -> None:
        self.config, self.replies, self.seconds = config, list[Reply](), list[float]()
        self._backend, self._sample, self._deadline, self._on_event = backend, sample, deadline, on_event
        self._stream = TurnStream()
        self._repeated = Repeated()
        self.left = list[tuple[str, str]]()
        self._dropped, self.notices = set[int](), list[str]()  # indices of images that are no longer sent
        self._server_limit = ""  # why they are not, or are sent with fewer pixels

    def turns(self, session: Session) -> BaseException | None:
        """Draw turns until the session is over; return the exception that ended it early, if one did."""
        broken: BaseException | None = None
        samplings = self.config.samplings(session.protocol.sampling)
        try:
            with self._deadline.armed():
                while isinstance(ask := session.next(), Ask):
                    self._turn(session, ask, samplings)
        except (VircError, KeyboardInterrupt) as error:
            broken = error
        except TimeUp:
            broken = deadline_error(self._deadline, any(each.place for each in session.images))
        if broken:
            kind: FailureKind = "interrupted" if isinstance(broken, KeyboardInterrupt) else "engine"
            session.stop("network" if isinstance(broken, NetworkError) else kind, str(broken) or "interrupted")
        else:
            session.explain(self._server_limit)
        return broken

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)
            self._on_event(Notice(text))

    def _limit_reached(self) -> str | None:
        """The option whose limit of replies or tokens is used up; None if there is none."""
        config, spent = self.config, spent_on(self.replies)
        if config.max_requests and spent.replies >= config.max_requests:
            return spelled(f"«--max-requests {config.max_requests}»")
        if config.max_tokens_total and spent.prompt_tokens + spent.completion_tokens >= config.max_tokens_total:
            return spelled(f"«--max-tokens-total {config.max_tokens_total}»")
        return None

    def _is_last_likely(self) -> bool:
        """Whether the next reply is likely to be the last: three replies like the one before would pass the limit."""
        config, spent, last = self.config, spent_on(self.replies), spent_on(self.replies[-1:])
        if config.max_requests == spent.replies + 1:
            return True
        tokens, last_tokens = spent.prompt_tokens + spent.completion_tokens, last.prompt_tokens + last.completion_tokens
        return bool(config.max_tokens_total and last_tokens and tokens + 3 * last_tokens > config.max_tokens_total)

    def _request(self, ask: Ask, sampling: Sampling) -> Reply:
        """Ask the backend; while the conversation does not fit, ask again without the older half of its crops."""
        while True:
            try:
                shortened = shortening.without(ask, self._dropped)
                reply = self._backend.reply(shortened, sampling, self._on_text, self._deadline.left())
                if limit := next((image.server_limit for image in shortened.images if image.server_limit), ""):
                    self._server_limit = self._server_limit or f", after pictures were sent with fewer pixels: {limit}"
                    self._notice(f"pictures are sent with fewer pixels: {limit}")
                return reply
            except VircError as error:
                crops = shortening.oldest(ask, self._dropped) if error.is_full else []
                if not crops:
                    raise
                self._dropped.update(crops)
                self._server_limit = f", after its crops were left out: {error.message}"
                left = "" if shortening.oldest(ask, self._dropped) else ", and the model is asked for its answer"
                count = f"{len(self._dropped)} crops are" if len(self._dropped) > 1 else "1 crop is"
                self._notice(f"the oldest {count} no longer shown{left}: {error.message}")

    def _draw(self, ask: Ask, sampling: Sampling) -> Reply:
        seed = derived(self.config.seed, self._sample, len(self.replies))
        seeded = msgspec.structs.replace(sampling, seed=seed)
        self._deadline.check()
        began, self._stream = time.monotonic(), TurnStream()
        try:
            reply = self._request(ask, seeded)
        except NetworkError:
            self._deadline.check()  # it was given up because the time for the problem is over
            raise
        if rest := self._stream.rest():
            self._on_event(TextDelta(rest))
        self.seconds.append(time.monotonic() - began)
        if price := self.config.price:
            reply = msgspec.structs.replace(reply, cost=price.of(reply))
        self.replies.append(reply)
        self.left += reply.left if isinstance(reply, ScoredReply) else ()
        return reply

    def _on_text(self, text: str) -> None:
        self._deadline.check()
        self._on_event(TextDelta(self._stream.of_turn(text)))

    def _turn(self, session: Session, ask: Ask, samplings: Sequence[Sampling]) -> None:
        """Draw one turn until a try is accepted; without one, or if the model goes in circles, the session ends."""
        reason, tried, cut = "", 0, 0
        for sampling in samplings:
            if limit := self._limit_reached():
                session.stop("turns", f"no answer within {limit}")
                return
            is_last = self._is_last_likely()
            if is_last:
                self._notice("the limit of requests or tokens is near: the model is asked for its answer")
            reply = self._draw(shortening.closing(ask) if is_last else ask, sampling)
            self._calibrate(session, reply)
            verdict = session.feed(checked(reply, session))
            self._on_event(verdict)
            hopeless = self._repeated.sentence(verdict, session) if sampling.temperature == 0 else None
            if isinstance(verdict, Unit):
                self._tell_results(verdict, session)
            if hopeless:
                session.stop("turns" if isinstance(verdict, Unit) else "tries", hopeless)
            if hopeless or isinstance(verdict, Unit):
                return
            reason, tried = verdict.reason + _cut_early(verdict, reply, sampling), tried + 1
            cut = cut + 1 if verdict.kind == "length" else 0
            if cut == _CUT or reply.refusal is not None:  # the next reply would be the same
                break
        several = f"{tried} replies in a row could not be used; the last: " if tried > 1 else ""
        session.stop("tries", f"{several}{reason}")

    def _tell_results(self, unit: Unit, session: Session) -> None:
        for result in unit.results:
            made = [(index, session.images[index]) for index in result.images]
            index = result.call.index if result.call else None
            self._on_event(ToolResult(unit, result, made, None if index is None else session.images[index]))

    def _calibrate(self, session: Session, reply: Reply) -> None:
        """Find out how the model counts boxes, before its first box, if that is not known."""
        calibrate: Calibrate | None = getattr(self._backend, "calibrate", None)  # backends of known models have none
        if calibrate is None or not asks_for_box(session.protocol, reply):
            return
        try:
            protocol = calibrate(session.protocol, session.history.sizes, self._deadline.left())
        except NetworkError:
            self._deadline.check()
            raise
        session.protocol = session.history.protocol = protocol


def _cut_early(verdict: Rejected, reply: Reply, sampling: Sampling) -> str:
    """What to add to a fault of a reply that its server cut before the limit it was asked for: a clause, or nothing."""
    drawn, most = reply.completion_tokens or 0, sampling.max_tokens
    is_early = verdict.kind == "length" and not reply.thought and 0 < drawn < most - 1
    return f"{_CUT_EARLY} {drawn:,} of {most:,} tokens: its context is full, or it limits replies" if is_early else ""


def draw_attempt(session: Session, sampler: Sampler) -> Attempt:
    broken = sampler.turns(session)
    trace, seconds = session.trace(), iter(sampler.seconds)
    return Attempt(
        trace,
        session.images if sampler.config.keep_images else (),
        _total(reply.prompt_tokens for reply in sampler.replies),
        _total(reply.completion_tokens for reply in sampler.replies),
        broken,
        len(sampler.replies),
        tuple(round(sum(islice(seconds, 1 + len(unit.rejected))), 3) for unit in trace.turns),
        tuple(sampler.notices),
        spent_on(sampler.replies).cost,
        tuple(sampler.left),
    )


def check_time(deadline: Deadline) -> None:
    """Raise where nobody waits for a clip or document any more. Raises NoAnswerError: its time is over."""
    try:
        deadline.check()
    except TimeUp:
        raise deadline_error(deadline, has_parts=True) from None


def deadline_error(deadline: Deadline, has_parts: bool = False) -> NetworkError:
    """The error where the time is over; `has_parts`: of a problem with frames or pages."""
    fewer = "frames or pages («--frames», «--page»)" if has_parts else "«--max-pixels»"
    return NetworkError(f"no answer within {deadline.seconds:g} s", f"a longer «--timeout», or fewer {fewer}")


def _total(counts: Iterable[int | None]) -> int | None:
    reported = [count for count in counts if count is not None]
    return sum(reported) if reported else None


def _voted(attempts: Sequence[Attempt], choices: Sequence[str]) -> Solved:
    solved = Solved(attempts, choices=choices)
    answer, _ = solved.votes[0]
    if answer is not None:
        return msgspec.structs.replace(solved, answer=answer)
    return msgspec.structs.replace(solved, error=no_answer(attempts))


def no_answer(attempts: Sequence[Attempt]) -> NoAnswerError:
    example = next((each for each in attempts if not each.broken), attempts[0])
    failure, pending = example.trace.failure, example.trace.pending
    assert failure
    several = f"none of {len(attempts)} samples has an answer; the first: " if len(attempts) > 1 else ""
    kind = pending[-1].kind if pending and failure.kind == "tries" else None
    is_stock_model = example.trace.protocol.reading == "lenient"
    hint = _HINTS.get(kind) if kind and (is_stock_model or kind == "length") else None
    if _CUT_EARLY in failure.message:
        hint = "its own limit is below «--max-tokens»: a longer context (llama.cpp: -c), or a lower «--max-pixels»"
    if hint is None and REPEATED in failure.message:
        hint = "«--temperature 0.7» has the model try something else"
    return NoAnswerError(several + failure.message, hint)
