r"""A language model that gives scores for rewards, asked by many coroutines at once.

What it says is read as the published reward reads it, from `\boxed{}`, in 4 tries. A judge that fails gives no score:
while it cannot be reached all questions wait, and if that lasts they raise. Replies are saved on disk under a hash of
the question, so that a resumed run has the same scores.

Read `Judge.verdict`: it gets replies with `_reply`, through the files of `_cached` and the repetitions of `_retried`,
until one has a score. `_wait_for_judge` lets one question look whether the judge is back while the others wait.
"""

import asyncio
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TypeVar

import msgspec

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.link import Link
from virc.backends.interface import Sampling
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.files import json_or_none
from virc.core.retry import pause_before
from virc.core.text import clause, did_you_mean, plain
from virc.core.work.threads import started
from virc.data.rows.record import MARK
from virc.reasoning.images import Shown
from virc.reasoning.messages import printable
from virc.reasoning.session import Ask, Message
from virc.scoring.judge import of_judge, quoted
from virc.scoring.likeness import cosine

TRIES = 4
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=50, max_tokens=1024)
"""As published."""
_EMBEDDING = Sampling(temperature=0.0, max_tokens=1)
"""Says that the reply is the cosine of two embeddings, not a text."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds
_REPORTED_AFTER = 3  # failures of one question
_MAX_CACHED_BYTES = 2**20
MAX_TEXT = 8000
"""Characters of one text that are shown to the judge."""
_QUESTIONS = Path(__file__).with_name("questions.yaml")
_PLACE = re.compile(r"(?<!boxed)\{([a-z_]+)\}")
PLACES: Mapping[str, Sequence[str]] = {
    "answer": ("data", "question", "reference", "answer"),
    "reasoning": ("data", "question", "answer", "earlier", "latest", "image"),
    "focus": ("data", "question", "answer", "latest", "image"),
}
"""What may stand in braces in each question: a text, all of them as one JSON object (`data`), or the next image."""
_PICTURES = {"reasoning": 1, "focus": 2}
"""Of each question; all of them have a place in it, or none has."""
_T = TypeVar("_T")


class Exchange(msgspec.Struct, frozen=True):
    """One question to a judge: the name of its term, its text with `<image>` for images, and the reply to each try."""

    name: str
    question: str
    replies: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    value: float
    why: str


class JudgeUsage:
    """What one reward asked judges: seconds with an open question, the numbers of questions and of those without a
    score, and the scores. Concurrent questions count their common time once.

    Args:
        said: the list that each question is added to, with its replies; None: they are dropped.
    """

    def __init__(self, said: list[Exchange] | None = None) -> None:
        self.seconds, self.asked, self.unread, self.said, self.scores = 0.0, 0, 0, said, list[float]()
        self._open, self._since = 0, 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        self.asked += 1
        if not self._open:
            self._since = time.monotonic()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self.seconds += time.monotonic() - self._since


JUDGE_USAGE: ContextVar[JudgeUsage | None] = ContextVar("JUDGE_USAGE", default=None)
"""The `JudgeUsage` of the reward that is being computed; each coroutine that computes one sets its own."""


class _Cached(msgspec.Struct, frozen=True):
    reply: str


class Judge:
    """Asks a judge behind an OpenAI-compatible endpoint; to be used in one event loop.

    Args:
        endpoint: address up to and with /v1.
        model: the name to ask for; None takes the only one that is served.
        api_key: bearer token, sent to this endpoint only; None sends none.
        at_once: questions in work at a time.
        timeout: seconds after which one reply is given up, and drawn again.
        patience: seconds after which a question that finds the judge away, or fails all the time, is given up.
        kept: folder for replies; None keeps none.
        on_wait: gets one sentence when the judge is away, and when it is back.
        asked: the questions, as `questions` reads them.
    """

    def __init__(
        self,
        endpoint: str,
        model: str | None = None,
        api_key: str | None = None,
        *,
        at_once: int = 32,
        timeout: float = 120.0,
        patience: float = 600.0,
        kept: Path | None = None,
        on_wait: Callable[[str], None] = lambda sentence: None,
        asked: Mapping[str, str] | None = None,
    ) -> None:
        self._asked = asked or questions()
        self._open = partial(OpenAIBackend, endpoint, model, api_key, timeout, max_retries=0, counts_image_tokens=False)
        self._link = Link(endpoint, api_key, timeout, 0)
        self._patience, self._cache, self._on_wait = patience, kept, on_wait
        self._slots, self._checking, self._opening = asyncio.Semaphore(at_once), asyncio.Lock(), asyncio.Lock()
        self._backend: OpenAIBackend | None = None
        self._final_error: NetworkError | None = None  # once the judge stayed away, all further questions raise it
        self._reported = False

    def close(self) -> None:
        self._link.close()
        if self._backend:
            self._backend.close()

    async def ask(
        self, name: str, texts: Mapping[str, str], images: Sequence[Shown], read: Callable[[str], float | None]
    ) -> Verdict:
        """A score; 0 where the judge answers and gives none in any try, as published.

        Args:
            name: which question of `questions.yaml`.
            texts: what it is about.
            images: shown where the question has {image}, else before it.
            read: the score in a reply, None where it holds none.

        Raises:
            NetworkError: the judge was away, or failed this question, for longer than `patience`.
            ConfigError, EngineError: it refuses the request, or read only a part of it.
        """
        shown = {key: text[:MAX_TEXT] for key, text in texts.items()}
        user = _filled(self._asked[name], {**shown, "data": quoted(shown)}, len(images))
        ask = Ask((Message("system", self._asked["system"]), user), images)
        return await self.verdict(name, ask, SAMPLING, TRIES, read)

    async def similarity(self, name: str, one: str, other: str | Shown) -> Verdict:
        """The cosine of the embeddings of two texts, or of a text and an image, -1 to 1; 0 where a text is empty.

        Raises as `ask`. The endpoint serves a model of embeddings: `/v1/embeddings` is asked for each text, which is
        cut to `MAX_TEXT`, and for the image as vLLM takes it.
        """
        texts = [text.strip()[:MAX_TEXT] for text in (one, other) if isinstance(text, str)]
        if not all(texts):
            return Verdict(0.0, "an empty text is like none")
        images = [] if isinstance(other, str) else [other]
        ask = Ask([*(Message("user", text) for text in texts), *(Message("user", "", (0,)) for _ in images)], images)
        found = await self.verdict(name, ask, _EMBEDDING, 1, read_cosine)
        return Verdict(found.value, f"a cosine of {found.value:.3f}")

    async def verdict(
        self, name: str, ask: Ask, sampling: Sampling, tries: int, read: Callable[[str], float | None]
    ) -> Verdict:
        """A score for a conversation; 0 where the judge answers and gives none in any try. Raises as `ask`."""
        messages = [msgspec.structs.replace(each, text=printable(each.text)) for each in ask.messages]
        ask = msgspec.structs.replace(ask, messages=messages)  # half a surrogate pair is no JSON
        waited, replies = JUDGE_USAGE.get() or JudgeUsage(), list[str]()
        try:
            with waited.asking():
                for number in range(tries):
                    replies.append(reply := await self._reply(ask, sampling, number))
                    value = read(reply)
                    if value is not None:
                        waited.scores.append(value)
                        return Verdict(value, f"the judge: {plain(reply[-200:], 160)}")
        finally:
            if waited.said is not None and replies:
                asked = (message for message in ask.messages if message.role == "user")
                texts = ("".join(part if isinstance(part, str) else MARK for part in each.parts()) for each in asked)
                waited.said.append(Exchange(name, "\n".join(texts), tuple(replies)))
        waited.unread += 1
        return Verdict(0.0, f"the judge gave no score in {tries} {'try' if tries == 1 else 'tries'}")

    async def _reply(self, ask: Ask, sampling: Sampling, number: int) -> str:
        backend = await self._opened()
        if sampling is _EMBEDDING:
            vectors = list[list[float]]()
            truncate = backend.kind == "vllm"  # it cuts long texts if asked to, as sentence-transformers does
            for message in ask.messages:
                one = Ask([message], ask.images if message.images else ())
                of = one.images[0] if one.images else message.text
                draw = partial(self._link.embedding, backend.model, of, truncate)
                vectors.append(await self._cached(one, _EMBEDDING, -1, list[float], draw))
            return repr(cosine(*vectors))
        found = await self._cached(ask, sampling, number, _Cached, lambda: _Cached(backend.reply(ask, sampling).text))
        return found.reply

    async def _cached(self, ask: Ask, sampling: Sampling, number: int, form: type[_T], draw: Callable[[], _T]) -> _T:
        file = await self._file(ask, sampling, number)
        if file and (known := json_or_none(file, form, _MAX_CACHED_BYTES)) is not None:
            return known
        drawn = await self._retried(draw)
        if file:
            self._write(file, drawn)
        return drawn

    async def _retried(self, work: Callable[[], _T]) -> _T:
        """The result of work in a thread, repeated while the judge is away. Raises NetworkError: it stays away."""
        end = math.inf  # after the first failure, the time until which failures are repeated
        for failed in count(1):
            async with self._checking:  # while it is away, one question checks and the others wait here
                if self._final_error:
                    raise self._final_error
            try:
                async with self._slots:
                    return await asyncio.wrap_future(started(work))
            except NetworkError as error:
                end = min(end, time.monotonic() + self._patience)
                await self._wait_for_judge(of_judge(error))
                if failed == _REPORTED_AFTER and not self._reported:
                    self._reported = True  # said once, as the judge may answer other questions
                    self._on_wait(f"{error.message}; such questions are asked again, for {self._patience:g} s at most")
                if time.monotonic() > end:
                    raise self._given_up(error) from None
            except VircError as error:
                raise of_judge(error) from None
            await asyncio.sleep(pause_before(failed, _FIRST_PAUSE, _LONGEST_PAUSE))
        raise AssertionError

    async def _wait_for_judge(self, error: VircError) -> None:
        """Return as soon as the judge answers; raises NetworkError if it stays away."""
        async with self._checking:
            if self._final_error:
                raise self._final_error
            if await asyncio.wrap_future(started(self._link.answers)):
                return
            began = time.monotonic()
            self._on_wait(
                f"{error.message}; questions to the judge wait until it answers, {self._patience:g} s at most"
            )
            for look in count(1):
                if await asyncio.wrap_future(started(self._link.answers)):
                    break
                left = began + self._patience - time.monotonic()
                if left < 0:
                    self._final_error = self._given_up(error)
                    raise self._final_error
                pause = min(pause_before(look, _FIRST_PAUSE, _LONGEST_PAUSE), max(0.1, left))
                await asyncio.sleep(pause)
            self._on_wait(f"the judge answers again, after {time.monotonic() - began:.0f} s")

    def _given_up(self, error: VircError) -> NetworkError:
        sentence = f"the judge gave no answer for {self._patience:g} s: {error.message}"
        return NetworkError(sentence, error.unspelled_hint or "when it is back, run the same command to resume")

    async def _opened(self) -> OpenAIBackend:
        async with self._opening:
            if self._backend is None:
                self._backend = await self._retried(self._open)
        return self._backend

    async def _file(self, ask: Ask, sampling: Sampling, number: int) -> Path | None:
        backend = await self._opened()
        if self._cache is None:
            return None
        texts = [(message.text, message.at) for message in ask.messages]
        images = [image.digest.hex() for image in ask.images]
        parts = msgspec.json.encode([backend.model, sampling, texts, images, number])
        name = sha256(parts).hexdigest()
        return self._cache / name[:2] / f"{name}.json"

    def _write(self, file: Path, found: object) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, new = tempfile.mkstemp(dir=file.parent, prefix=".new")
            try:
                with os.fdopen(handle, "wb") as opened:
                    opened.write(msgspec.json.encode(found))
                Path(new).replace(file)
            finally:
                Path(new).unlink(missing_ok=True)
        except OSError as error:
            if self._cache:  # said once, even if several replies are written at the time
                self._on_wait(f"the judge's replies are not kept: {clause(error)}")
            self._cache = None


@cache
def questions(file: Path | None = None) -> Mapping[str, str]:
    """The prompts of a judge: `system`, and the terms' questions by their names; see `PLACES` for what stands in them.

    Args:
        file: a YAML file whose texts replace our own.

    Raises:
        ConfigError: it cannot be read, has another name than ours, or a place of a text that is not known there.
    """
    own: Mapping[str, str] = plain_yaml.read_mapping(_QUESTIONS)  # type: ignore[assignment]
    if file is None:
        return own
    given = plain_yaml.read_mapping(file, "reward.judge.questions names it")
    for name, text in given.items():
        if name not in own:
            raise ConfigError(f"{file}: a judge is not asked {plain(name, 60)!r}", did_you_mean(name, own))
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"{file}: {name} is no text", "virc rewards show virc prints such questions")
        _check_places(file, name, _PLACE.findall(text))
    return {**own, **given}  # type: ignore[dict-item]


def _check_places(file: Path, name: str, found: Sequence[str]) -> None:
    known = PLACES.get(name, ())
    hint = f"its places: {', '.join(f'{{{place}}}' for place in known) or 'none'}"
    for place in found:
        if place not in known:
            raise ConfigError(f"{file}: {name} has no place {{{place}}}", hint)
    if found.count("image") not in (0, _PICTURES.get(name, 0)):
        raise ConfigError(f"{file}: {name} has {found.count('image')} places for {_PICTURES[name]} pictures", hint)
    if known and not set(found) - {"image"}:
        raise ConfigError(f"{file}: {name} has no place for what it asks about", hint)


def _filled(template: str, texts: Mapping[str, str], images: int = 0) -> Message:
    """A question with its texts; each {image} is replaced by the next image, and without one all stand before it."""
    text, at = "", list[int]()  # `at`: positions of the images in the text
    for number, part in enumerate(_PLACE.split(template)):
        if number % 2 == 0:
            text += part
        elif part == "image":
            at.append(len(text))
        else:
            text += texts[part]
    return Message("user", text, tuple(range(images)), at=tuple(at))


def read_cosine(reply: str) -> float | None:
    try:
        value = float(reply)
    except ValueError:
        return None
    return value if -1 <= value <= 1 else None
