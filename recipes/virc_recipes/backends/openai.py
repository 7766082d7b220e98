"""Replies from any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, `virc serve`, hosted ones."""

from typing import Any

import msgspec

from virc_recipes.backends import OnText, Sampling
from virc_recipes.backends.openai_link import Link, names_hint
from virc_recipes.backends.openai_wire import Served
from virc_recipes.backends.prompt_count import PromptCounts
from virc_recipes.errors import ConfigError
from virc_recipes.reasoning.protocol import Protocol
from virc_recipes.reasoning.resize import QWEN2, Grid
from virc_recipes.reasoning.session import Ask, Message, Reply

_TOP_K_SERVERS = frozenset({"vllm", "sglang"})
_GRID_FAMILIES = ("qwen", "virc")


class OpenAIBackend:
    """Draws replies from an endpoint, and checks after each that the server read the whole conversation (C6).

    It asks /v1/models when it is made. A reply depends on the Ask and the sampling alone, so threads may
    share one backend for many conversations.

    Args:
        endpoint: address up to and with /v1.
        model: the name to ask for; None takes the only one that is served.
        api_key: bearer token, sent to this endpoint only and never printed; None sends none.
        timeout: seconds after which one reply is given up.
        grid: the patch grid images are shown on.
        max_retries: further tries by the client's own back-off while the endpoint is down or busy.
        counts_image_tokens: whether the server spends tokens on images by the Qwen grid, for the check; None
            decides by the model's name (qwen or virc in it).

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
        self.grid = grid
        self._link = Link(endpoint, api_key, timeout, max_retries)
        try:
            served = self._choose(model)
        except BaseException:
            self._link.close()
            raise
        self.model = self._link.model = served.id
        self._published = served.virc_protocol
        self._takes_top_k = str(served.owned_by).lower() in _TOP_K_SERVERS
        if counts_image_tokens is None:
            counts_image_tokens = any(family in self.model.lower() for family in _GRID_FAMILIES)
        self._counts = PromptCounts(counts_image_tokens)

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
        reply = self._link.complete(self._request(ask, sampling), sampling.max_tokens, on_text, seconds)
        self._counts.check(ask, reply, self._link.endpoint)
        return reply

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

    def _request(self, ask: Ask, sampling: Sampling) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message, ask) for message in ask.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.seed is not None:
            request["seed"] = sampling.seed
        if self._takes_top_k:
            # -1 is all tokens. Left out, these servers take top_k from the model's generation_config.json,
            # where it may be 1, and then every try is the same.
            request["extra_body"] = {"top_k": -1 if sampling.top_k is None else sampling.top_k}
        return request


def _message(message: Message, ask: Ask) -> dict[str, Any]:
    """A chat message as the API has it, images before text."""
    if not message.images:
        return {"role": message.role, "content": message.text}
    images = [
        {"type": "image_url", "image_url": {"url": ask.images[index].data_url}} for index in message.images
    ]
    return {"role": message.role, "content": [*images, {"type": "text", "text": message.text}]}
