"""Replies from any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, `virc serve`, hosted ones."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from virc_recipes.backends import OnText, Sampling
from virc_recipes.backends.openai_images import AsPart, SentImages, whole
from virc_recipes.backends.openai_link import Link, names_hint
from virc_recipes.backends.openai_wire import Served
from virc_recipes.backends.prompt_count import PromptCounts
from virc_recipes.deadline import Deadline
from virc_recipes.errors import ConfigError
from virc_recipes.reasoning.protocol import Protocol
from virc_recipes.reasoning.resize import QWEN2, Grid
from virc_recipes.reasoning.session import Ask, Message, Reply

_SAMPLING_SERVERS = frozenset({"virc", "vllm", "sglang"})
_BATCHING_SERVERS = frozenset({"vllm", "sglang"})
_KEEPS_STOP = {"vllm": "include_stop_str_in_output", "sglang": "no_stop_trim"}
"""What has a server leave the text that ended a reply in it. Others cut it off, and nobody could tell which it was."""
_GRID_FAMILIES = ("qwen", "virc")
_TOGETHER = 16
"""Tokens that a server sends at once while several replies are drawn: nobody reads along, and each piece costs both."""


class OpenAIBackend:
    """Draws replies from an endpoint, and checks after each that the server read the whole conversation (C6).

    It asks /v1/models when it is made. A reply depends on the Ask and the sampling alone, so threads may
    share one backend for many conversations.

    Args:
        endpoint: address up to and with /v1.
        model: the name to ask for; None takes the only one that is served.
        api_key: bearer token, sent to this endpoint only and never printed; None sends none.
        timeout: seconds after which one reply is given up.
        grid: the patch grid images are shown on, where the endpoint does not publish its model's; it limits that.
        max_retries: further tries by the client's own back-off while the endpoint is down or busy.
        counts_image_tokens: whether the server spends tokens on images by the Qwen grid, for the check; None
            decides by the model's name (qwen or virc in it).

    Attributes:
        at_once: conversations it is asked at a time where nobody says how many: servers that compute many replies
            together are kept busy.
        agent: whether the endpoint runs the loop itself, as `virc serve --agent` does.
        context: longest conversation in tokens, where the endpoint tells it.

    Raises:
        ConfigError: the address, key or model is wrong, or several models are served and none was named.
        NetworkError: the endpoint is down or its answer is garbage.
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
    ) -> None:
        self._link = Link(endpoint, api_key, timeout, max_retries)
        try:
            served = self._choose(model)
        except BaseException:
            self._link.close()
            raise
        self.model = self._link.model = served.id
        self.agent = served.virc_agent is True
        self.context = served.max_model_len if isinstance(served.max_model_len, int) else None
        self._published = served.virc_protocol
        self.grid = self._published_grid(served, grid)
        self._images = SentImages() if served.virc_image_ids is True else None
        self._sends_together = served.owned_by == "vllm" and served.virc_grid is not None
        self._drawing, self._lock = 0, threading.Lock()
        kind = str(served.owned_by).lower()
        self._takes_more = kind in _SAMPLING_SERVERS
        self._keeps_stop = _KEEPS_STOP.get(kind)
        self.at_once = 32 if kind in _BATCHING_SERVERS else 16
        if counts_image_tokens is None:
            counts_image_tokens = any(family in self.model.lower() for family in _GRID_FAMILIES)
        # `virc serve` refuses what is too long; and its model's tokenizer may be of any kind.
        self._counts = None if self._published else PromptCounts(counts_image_tokens)

    def reply(
        self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None
    ) -> Reply:
        """Draw one assistant turn; `on_text` gets it as it streams in.

        Args:
            seconds: give up after them, where the time for any reply is longer.

        Raises:
            ConfigError: the endpoint refuses the request.
            NetworkError: the endpoint is down, busy, silent, broken off or answers garbage.
            EngineError: the server dropped part of the conversation.
        """
        deadline = Deadline(seconds)

        def drawn(as_part: AsPart) -> Reply:
            request = self._request(ask, sampling, as_part)
            return self._link.complete(request, sampling.max_tokens, on_text, deadline.left())

        with self._counted():
            reply = self._images.draw(ask.images, drawn) if self._images else drawn(whole)
        if self._counts:
            self._counts.check(ask, reply, self._link.endpoint)
        return reply

    def answers(self) -> bool:
        """Whether the endpoint can be asked now."""
        return self._link.answers()

    def published_protocol(self) -> Protocol | None:
        """The wording the endpoint publishes for its model in /v1/models (`virc serve` does), or None.

        Raises:
            ConfigError: it publishes one that cannot be read.
        """
        if self._published is None:
            return None
        try:
            return msgspec.convert(self._published, Protocol)
        except (ValueError, RecursionError) as error:
            sentence = (
                f"{self._link.endpoint} publishes a wording that cannot be read: {self._link.said(error)}"
            )
            raise ConfigError(sentence, "give the wording yourself: --protocol FILE") from None

    def _published_grid(self, served: Served, otherwise: Grid) -> Grid:
        """The grid the endpoint publishes for its model, no larger than the other."""
        if served.virc_grid is None:
            return otherwise
        try:
            grid = msgspec.convert(served.virc_grid, Grid)
        except (ValueError, RecursionError):
            grid = Grid(0)
        if not (14 <= grid.factor <= 256 and 0 < grid.min_pixels <= grid.max_pixels <= 2**31):
            raise ConfigError(f"{self._link.endpoint} publishes image sizes that make no sense")
        return grid.limited(otherwise.max_pixels)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def _choose(self, model: str | None) -> Served:
        """The listed entry of the model; a named one need not be listed, nor need there be a list."""
        try:
            listed = self._link.models()
        except ConfigError:
            if model is None:
                raise
            listed = []
        if model is not None:
            return next((served for served in listed if served.id == model), Served(model))
        if len(listed) == 1:
            return listed[0]
        if not listed:
            raise ConfigError(f"{self._link.endpoint} serves no model", "name one: --model NAME")
        sentence = f"{self._link.endpoint} serves {len(listed)} models and none was chosen"
        raise ConfigError(sentence, f"--model {names_hint(self._link.names)}")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the replies that are drawn at a time."""
        with self._lock:
            self._drawing += 1
        try:
            yield
        finally:
            with self._lock:
                self._drawing -= 1

    def _request(self, ask: Ask, sampling: Sampling, as_part: AsPart) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message, ask, as_part) for message in ask.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.seed is not None:
            request["seed"] = sampling.seed
        if self._takes_more:  # openai.com refuses these
            # -1 is all tokens. Left out, these servers take top_k from the model's generation_config.json,
            # where it may be 1, and then every try is the same.
            request["top_k"] = -1 if sampling.top_k is None else sampling.top_k
            if sampling.repetition_penalty != 1:
                request["repetition_penalty"] = sampling.repetition_penalty
        if ask.stop and self._keeps_stop:
            request |= {"stop": list(ask.stop), self._keeps_stop: True}
        if self._sends_together and self._drawing > 1:
            request["stream_interval"] = _TOGETHER
        return request


def _message(message: Message, ask: Ask, as_part: AsPart) -> dict[str, Any]:
    """A chat message as the API has it, images before text."""
    if not message.images:
        return {"role": message.role, "content": message.text}
    images = [as_part(ask.images[index]) for index in message.images]
    return {"role": message.role, "content": [*images, {"type": "text", "text": message.text}]}
