"""Replies from any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, `virc serve`, hosted ones.

`OpenAIBackend.reply` draws a reply by `_draw`, which sends requests (`_request_once`) until one is accepted, and adapts
the next to what the server refused (`_adapt`). What the server is comes from its list of models; if another may have
come in its place, it is asked again (`_identify_again`). HTTP is in `link`.
"""

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from virc.backends.chat import ollama
from virc.backends.chat.balance import balanced
from virc.backends.chat.causes import RefusedError, halved, shortened
from virc.backends.chat.images import AsPart, SentImages, SizeLimits, whole
from virc.backends.chat.link import GarbageError, Link, names_hint
from virc.backends.chat.listing import ListedModel
from virc.backends.chat.providers import OLLAMA, SMALLER_PIXELS, VLLM, provider
from virc.backends.chat.reply import ReceivedReply
from virc.backends.chat.request import Habits, check_thinking, completion, fields_of, fields_to_think, merged
from virc.backends.control_tokens import as_text
from virc.backends.interface import Calibrate, OnText, PictureSetup, Sampling
from virc.backends.prompt_count import PromptCounts
from virc.config.taken import Left
from virc.core.errors import ConfigError, NetworkError, NoAnswerError, VircError
from virc.core.timeouts import Deadline
from virc.core.work import forks
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Ask, Reply

_GRID_FAMILIES = ("qwen", "virc")
_STREAM_INTERVAL = 16
"""Tokens that a server sends at once while several replies are drawn: nobody reads along, and each piece costs time."""
_IDENTIFY_SECONDS = 5.0  # longest wait for a list of models between two replies
_MAX_REQUESTS = 12  # for one reply
_MAX_HALVINGS = 6  # of the limit of tokens
_SCALED_TOKENS = 64
"""Fewest tokens that a picture takes behind a server that scales it down to 500 pixels a side, as some do."""
_OLLAMA_PORT = 11434


class _Attempt(msgspec.Struct):
    """What changes between the requests for one reply, as the server refuses them or their replies cannot be used."""

    sampling: Sampling
    streams: bool = True
    halvings: int = 0  # of the limit of tokens, which the server refused without naming its own
    was_broken: bool = False  # a reply broke off, and was requested again
    sent: dict[str, Any] = {}  # the body of the latest request
    wanted: Mapping[str, Any] = {}  # what it would be if the server took all parameters

    def limit(self, max_tokens: int) -> None:
        self.sampling = msgspec.structs.replace(self.sampling, max_tokens=max_tokens)


class OpenAIBackend:
    """Draws replies from an endpoint, and checks after each that the server read the whole conversation.

    It asks /v1/models when it is made. A reply depends on the Ask and the sampling alone, so threads may
    share one backend for many conversations.

    Args:
        endpoint: address up to and with /v1.
        model: the name to ask for; None takes the only one that is served.
        api_key: bearer token, sent to this endpoint only and never printed; None sends none.
        timeout: seconds after which one reply is given up, those of refused requests included.
        grid: the patch grid images are shown on, if the endpoint publishes none; one that it publishes is used, but
            with no more pixels than this one has.
        max_retries: further tries by the client's own back-off while the endpoint is down or busy.
        counts_image_tokens: whether the server spends tokens on images by the Qwen grid, for the check; None
            decides by the model's name (qwen or virc in it).
        num_ctx: tokens of context to ask Ollama for; None: as `ollama.context_of` finds.
        extra_body: further fields of requests, a JSON object.
        thinking: `on` or `off`; None: as the server has it.

    Attributes:
        link: the connections to it, and what it lists.
        server: its entry of the model.
        left: what is not read of that entry.
        at_once: conversations at a time, if no number is chosen: more for servers that compute replies in batches.
        agent: whether the endpoint runs the loop itself, as `virc serve --agent` does.
        grid, needs_sizes: of its images, as `use_setup` says.
        requests: how many requests for completions were sent.
        max_requests: after how many no more are sent; None: any number.
        calibrate: finds out how boxes are counted; None: that is known.

    Raises:
        ConfigError: the address, key or model is wrong, or several models are served and none was named.
        NetworkError: the endpoint is down or its answer is garbage.
        UsageError: `extra_body` contradicts `thinking`.
    """

    def __init__(
        self,
        endpoint: str,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        grid: Grid = QWEN2,
        *,
        max_retries: int = 2,
        counts_image_tokens: bool | None = None,
        headers: str | None = None,
        num_ctx: int | None = None,
        extra_body: str | None = None,
        thinking: str | None = None,
    ) -> None:
        self._extra, self._thinking = fields_of(extra_body), thinking
        self.link, self._num_ctx = Link(endpoint, api_key, timeout, max_retries, headers), num_ctx
        try:
            served = self._choose(model)
            self.model = self.link.model = served.id
            self.server, self._native = served, self._native_context(served)
            check_thinking(thinking, self._extra, self.link.endpoint, self._provider)
        except BaseException:
            self.link.close()
            raise
        self.agent = served.virc_agent is True
        self.left = Left()
        self.left.add("listed model", served.left)
        self._published = served.virc_protocol
        self.grid = self._published_grid(served, grid)
        self._habits, self._images, self._bytes = Habits(), SentImages(), SizeLimits()
        self.requests = 0
        self.max_requests: int | None = None
        self.calibrate: Calibrate | None = None
        self._drawing, self._lock = 0, forks.Lock()  # how many replies are drawn now
        self._longest = 2**31  # most tokens of a reply that the server takes, as far as halvings found out
        self.needs_sizes = False
        self._has_answered = True  # since a refusal last led to `_identify_again`; else that would find the same server
        self.at_once = 32 if provider(self.kind).batches else 16
        if counts_image_tokens is None:
            counts_image_tokens = any(family in self.model.lower() for family in _GRID_FAMILIES)
        self._counts_images = counts_image_tokens
        self._counts = self._prompt_counts()

    @property
    def endpoint(self) -> str:
        """Its address as it may be printed: without query."""
        return self.link.endpoint

    @property
    def is_listed(self) -> bool:
        return not self.link.names or self.model in self.link.names

    @property
    def listed(self) -> str:
        return names_hint(self.link.names)

    @property
    def named(self) -> str:
        """The options that choose this model, for a command in a hint."""
        several = f" --model {shlex.quote(self.model)}" if len(self.link.names) != 1 else ""
        return f"--endpoint {shlex.quote(self.link.typed)}{several}"

    @property
    def kind(self) -> str:
        """Which server it says it is, in lower case: vllm, sglang, llamacpp, library (Ollama) …"""
        return self.server.kind

    @property
    def _provider(self) -> str:
        """Which server it is, for what it does otherwise; Ollama by its own API alone."""
        return OLLAMA if self._native else self.kind.replace(OLLAMA, "")

    @property
    def context(self) -> int | None:
        return self._native or self.server.context

    @property
    def left_out(self) -> frozenset[str]:
        return self._habits.left_out

    def use_setup(self, setup: PictureSetup) -> None:
        """Send pictures as suits the model."""
        self.grid, self.needs_sizes = setup.grid, setup.needs_sizes
        self._habits.leave_out(setup.left_out)
        if setup.are_whole and self._counts:
            self._counts.most = None

    def leave_out(self, parameters: Iterable[str]) -> None:
        self._habits.leave_out(parameters)

    def json_object(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.link.json_object(ollama.root_of(self.link.endpoint) + path, body)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """Draw one assistant turn; `on_text` gets it as it streams in.

        Args:
            seconds: give up after them, if that is sooner than `timeout`.

        Raises:
            ConfigError: the endpoint refuses the request.
            NetworkError: the endpoint is down, busy, silent, broken off or answers garbage.
            EngineError: the server dropped part of the conversation.
        """
        deadline = Deadline(self.link.timeout if seconds is None else min(seconds, self.link.timeout))
        ask = as_text(ask)
        if self.link.stale:
            self._identify_again()
        longest = min(sampling.max_tokens, self._longest)
        if self.context and longest >= self.context:  # no prompt would fit with it
            longest = self.context // 2
        sampling = msgspec.structs.replace(sampling, max_tokens=longest)
        with self._lock:
            self._drawing += 1
        try:
            reply = self._draw(ask, sampling, on_text, deadline)
        except VircError as error:
            largest = max((shown.width * shown.height for shown in ask.images), default=0)
            if error.unspelled_hint and 0 < largest <= SMALLER_PIXELS:  # the hint would not make any picture smaller
                error.hint = error.unspelled_hint.replace(str(SMALLER_PIXELS), str(largest // 2))
            raise
        finally:
            with self._lock:
                self._drawing -= 1
        if self._is_full(reply, sampling):
            tokens = self.context or reply.prompt_tokens
            full = ConfigError(
                f"the context of {self.endpoint}, {tokens} tokens, is full: it cut the reply",
                "serve it with a longer context (llama.cpp: -c 32768), or send smaller images: «--max-pixels»",
            )
            full.is_full = True
            raise full
        if reply.refusal:
            reply = msgspec.structs.replace(reply, refusal=self.link.quoted(reply.refusal))
        if self._counts:
            if self._bytes.scales:
                self._counts.most = _SCALED_TOKENS
            self._counts.check(ask, reply, self.link.endpoint, reply.cached_tokens)
        if self._thinking and not fields_to_think(self._thinking, self.link.endpoint, self._provider):
            return msgspec.structs.replace(reply, left=(*reply.left, ("switch", f"--thinking {self._thinking}")))
        return reply

    def published_protocol(self) -> Protocol | None:
        """The chat protocol the endpoint publishes for its model in /v1/models (`virc serve` does), or None."""
        if self._published is None:
            return None
        try:
            return msgspec.convert(self._published, Protocol)
        except (ValueError, RecursionError) as error:
            sentence = f"{self.link.endpoint} publishes an unreadable chat protocol: {self.link.quoted(error)}"
            raise ConfigError(sentence, "give the chat protocol yourself: «--protocol FILE»") from None

    def _published_grid(self, served: ListedModel, otherwise: Grid) -> Grid:
        if served.virc_grid is None:
            return otherwise
        try:
            grid = msgspec.convert(served.virc_grid, Grid)
        except (ValueError, RecursionError):
            grid = Grid(0)
        if not (14 <= grid.factor <= 256 and 0 < grid.min_pixels <= grid.max_pixels <= 2**31):
            raise ConfigError(f"{self.link.endpoint} publishes image sizes that make no sense")
        return grid.limited(otherwise.max_pixels)

    def close(self) -> None:
        self.link.close()

    def _is_full(self, reply: Reply, sampling: Sampling) -> bool:
        read, drawn = reply.prompt_tokens, reply.completion_tokens
        if reply.finish != "length" or not read or not drawn:
            return False
        if not self.context:
            return drawn == 1 < sampling.max_tokens and not reply.text.strip()
        return drawn < sampling.max_tokens and read + drawn >= self.context - 1

    def _draw(self, ask: Ask, sampling: Sampling, on_text: OnText | None, deadline: Deadline) -> ReceivedReply:
        """Draw a reply, by as many requests as it takes to find out what the server accepts.

        After a refusal the next request is adapted to it. A reply whose streamed pieces can be joined in two ways is
        requested again without streaming, and one that broke off is requested again once; neither streams its text to
        `on_text` a second time.
        """
        attempt = _Attempt(sampling)
        self._bytes.keeps_sizes = self.needs_sizes
        for _ in range(_MAX_REQUESTS):
            fitted = self._bytes.fitted(ask)
            try:
                reply = self._request_once(fitted, attempt, on_text, deadline)
                self._has_answered = True
                if attempt.halvings:
                    self._longest = attempt.sampling.max_tokens
                if not reply.is_doubtful or not attempt.streams or not attempt.sent.get("stream"):
                    return balanced(reply, fitted, attempt.wanted, attempt.sent)
                on_text, attempt.streams = None, False
            except NetworkError as error:
                # A server that cannot be reached at all was tried again already.
                may_answer = error.broken and not error.fails_all_requests and self.link.max_retries > 0
                if attempt.was_broken or not may_answer:
                    raise
                on_text, attempt.was_broken = None, True
            except NoAnswerError as filtered:  # a filter in front of the model
                return ReceivedReply("", refusal=filtered.message)
            except RefusedError as refused:
                if isinstance(refused.drawn, str):  # the session reads it, or has it drawn again
                    return ReceivedReply(refused.drawn)
                if not self._adapt(attempt, fitted, refused, ask):
                    raise
        raise ConfigError(f"{self.link.endpoint} refuses one part of the request after the other")

    def _adapt(self, attempt: _Attempt, fitted: Ask, refused: RefusedError, ask: Ask) -> bool:
        """Change what the next request sends, so that the server may accept it; whether there was anything to change.

        In this order: the pixels and the limit of tokens that the refusal names, the bytes of pictures, parameters that
        can be left out, half the tokens; last, it may be another server than the one that was asked what it is. The
        refused request was made of `fitted`: `ask` with pictures as small as needed.
        """
        max_tokens = attempt.sampling.max_tokens
        if self._bytes.learn_pixels(fitted, refused):
            return not self.needs_sizes
        if named := shortened(max_tokens, refused):
            attempt.limit(named)
            return True
        if self._bytes.learn_bytes(fitted, refused, ask) or self._habits.learn(attempt.sent, refused):
            return True
        if attempt.halvings < _MAX_HALVINGS and (half := halved(max_tokens, refused)):
            attempt.halvings += 1
            attempt.limit(half)
            return True
        has_answered, self._has_answered = self._has_answered, False
        return has_answered and self._identify_again()

    def _request_once(self, ask: Ask, attempt: _Attempt, on_text: OnText | None, deadline: Deadline) -> ReceivedReply:
        """The reply to one request, whose body is put into `attempt`, be it refused or not."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            raise ConfigError(f"{self.link.endpoint} refused every request")
        self.requests += 1
        sampling = attempt.sampling

        def complete(as_part: AsPart) -> ReceivedReply:
            address = None
            if self._native:
                address = ollama.root_of(self.link.endpoint) + ollama.CHAT
                request = self._with_extra(ollama.request(ask, sampling, self.model, self._native))
                attempt.wanted = attempt.sent = request | {"stream": attempt.streams}
            else:
                request = self._with_extra(self._body(ask, sampling, as_part))
                if not attempt.streams:
                    del request["stream"]
                attempt.wanted, attempt.sent = request, self._habits.fitted(request)
            return self.link.complete(attempt.sent, sampling.max_tokens, on_text or _unheard, deadline, address)

        return self._images.reply(ask.images, complete) if self.server.virc_image_ids is True else complete(whole)

    def _with_extra(self, request: dict[str, Any]) -> dict[str, Any]:
        switch = fields_to_think(self._thinking, self.link.endpoint, self._provider)
        return merged(merged(request, switch), self._extra)

    def _identify_again(self) -> bool:
        """Ask the server again what it is; return whether it is another. What the former one refused is forgotten.

        Raises:
            ConfigError: boxes are in pixels, and this server, unlike the one before, may scale pictures down.
        """
        was_stale, before, kind = self.link.stale, (self.server, self._native), provider(self.kind)
        self.link.stale = False
        with suppress(ConfigError, NetworkError):
            listed = self.link.models(_IDENTIFY_SECONDS)
            served = next((each for each in listed if each.id == self.model), ListedModel(self.model))
            self.server, self._native = served, self._native_context(served)
        changed = (self.server, self._native) != before
        if was_stale or changed:
            self._habits.forget()
        self._counts = self._counts or self._prompt_counts()
        if self.needs_sizes and kind.shows_whole and not provider(self.kind).shows_whole:
            raise ConfigError(
                f"another server answers at {self.endpoint} now ({self.kind or 'unnamed'}): it may scale pictures "
                "down, and boxes in pixels would be wrong",
                f"virc doctor {self.named}, then the same command",
            )
        return changed

    def _prompt_counts(self) -> PromptCounts | None:
        """A check of what was read; None for vLLM, SGLang and `virc serve`, which refuse what is too long."""
        refuses = self._published or provider(self.kind).batches
        return None if refuses else PromptCounts(self._counts_images, _SCALED_TOKENS)

    def _native_context(self, served: ListedModel) -> int | None:
        """Tokens of context to request by Ollama's own API; None: it is another server."""
        if served.kind != OLLAMA and urlsplit(self.link.endpoint).port != _OLLAMA_PORT:
            return None
        try:
            if "version" not in self.json_object("/api/version"):
                return None
            shown = self.json_object("/api/show", {"model": served.id})
            running = self.json_object("/api/ps")
        except (ConfigError, NetworkError):
            return None
        return ollama.context_of(shown, running, served.id, self._num_ctx)

    def _choose(self, model: str | None) -> ListedModel:
        """The listed entry of the model; a named one need not be listed, nor need there be a list."""
        try:
            listed = self.link.models()
        except (ConfigError, NetworkError) as error:
            if model is None and isinstance(error, ConfigError) and error.hint is None:
                raise ConfigError(error.message, "where it lists no models, name one: «--model NAME»") from error
            if model is None or not _has_answered(error):
                raise
            listed = []
        if not listed:
            with suppress(ConfigError, NetworkError):
                self.link.is_ollama = "version" in self.json_object("/api/version")
        if model is not None:
            return next((served for served in listed if served.id in (model, f"{model}:latest")), ListedModel(model))
        seeing = [served for served in listed if not served.is_blind]
        if len(seeing or listed) == 1:  # or the one model of a server of embeddings
            return (seeing or listed)[0]
        if not listed:
            raise ConfigError(f"{self.link.endpoint} serves no model", self.link.missing_hint())
        sentence = f"{self.link.endpoint} serves {len(listed)} models and none was chosen"
        raise ConfigError(f"{sentence}: {names_hint(self.link.names)}", f"«--model {(seeing or listed)[0].id}»")

    def _body(self, ask: Ask, sampling: Sampling, as_part: AsPart) -> dict[str, Any]:
        """A request for a completion, with the parameters that this kind of server has in addition to OpenAI's."""
        server = self.server
        request = completion(ask, sampling, self.model, as_part)
        takes = provider(server.kind)
        if takes.takes_sampling:
            request["top_k"] = -1  # all tokens
            if sampling.temperature > 0:
                request["top_p"] = sampling.top_p
        if sampling.top_k is not None and (takes.takes_sampling or not sampling.is_usual):
            request["top_k"] = sampling.top_k
        if sampling.min_p is not None:
            request["min_p"] = sampling.min_p
        if sampling.repetition_penalty is not None:
            name, beside = takes.penalty
            request |= {name: sampling.repetition_penalty, **beside}
        if ask.stop and takes.keeps_stop:
            request |= {"stop": list(ask.stop), takes.keeps_stop: True}
        if server.kind == VLLM and server.virc_grid is not None and self._drawing > 1:
            request["stream_interval"] = _STREAM_INTERVAL
        return request


def _unheard(_: str) -> None:
    """Nobody reads along."""


def _has_answered(error: ConfigError | NetworkError) -> bool:
    """Whether a server that gives no list of models answered at all, so that it may serve the model all the same."""
    if isinstance(error, ConfigError | GarbageError):
        return True
    reports_failure = error.fails_all_requests and not error.broken  # by a status such as 500
    broke_off = error.broken and not error.fails_all_requests
    return reports_failure or broke_off
