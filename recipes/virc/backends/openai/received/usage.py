"""What a server says of tokens: how many it read and drew, and the log-probabilities of the likeliest first ones."""

import math
from collections.abc import Iterator, Mapping

import msgspec

from virc.backends.interface import Likeliest

_MAX_COUNT = 2**40
_READ = ("prompt_tokens", "input_tokens", "prompt_eval_count")  # the last is Ollama's own
_DRAWN = ("completion_tokens", "output_tokens", "eval_count")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
_WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")


class Usage(msgspec.Struct, frozen=True):
    """Tokens of a reply; None: it is not known.

    Args:
        read: of the prompt.
        drawn: of the reply.
        cached: of the prompt that came from a cache, or went into one. OpenAI's API counts them in the prompt, and
            Anthropic's next to it.
        cost: `usage.cost` of OpenRouter, in US dollars (openrouter.ai/docs/use-cases/usage-accounting).
    """

    read: int | None = None
    drawn: int | None = None
    cached: int = 0
    cost: float | None = None

    @property
    def prompt(self) -> int | None:
        return (self.read or 0) + self.cached if self.cached > (self.read or 0) else self.read


def usage(said: object, before: Usage) -> Usage:
    """What a server says of its tokens; what it leaves out now stays as it said it `before`."""
    if not isinstance(said, Mapping):
        return before
    details = [said, *(said.get(name) for name in ("prompt_tokens_details", "input_tokens_details"))]
    cached = _first(details, _CACHED) + _first(details, _WRITTEN)
    counts = [said, said.get("tokens")]  # Cohere's
    return Usage(
        _first(counts, _READ) or before.read,
        _first(counts, _DRAWN) or before.drawn,
        cached or before.cached,
        before.cost if (cost := _cost(said.get("cost"))) is None else cost,
    )


def _first(maps: list[object], names: tuple[str, ...]) -> int:
    """The largest count by one of the names; servers give one under several."""
    return max((_count(each.get(name)) for each in maps if isinstance(each, Mapping) for name in names), default=0)


def _count(value: object) -> int:
    """A number of tokens, also as text or with a fraction; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0
    return int(number) if math.isfinite(number) and 0 <= number <= _MAX_COUNT else 0


def _cost(value: object) -> float | None:
    """A cost; None if the value is no finite number of 0 or more: Perplexity sends an object."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def likeliest(logprobs: object) -> Likeliest | None:
    """The texts and log-probabilities of the likeliest first tokens; None if a server sends none.

    Args:
        logprobs: `logprobs` of a choice: OpenAI's {"content": [{"top_logprobs": [{"token", "logprob"}]}]}, the
            {"top_logprobs": [{TOKEN: LOGPROB}]} of its older API, or Ollama's list of {"top_logprobs"}.
    """
    content = logprobs.get("content") or [logprobs] if isinstance(logprobs, Mapping) else logprobs
    if not isinstance(content, list) or not content or not isinstance(content[0], Mapping):
        return None
    return tuple(_pairs(content[0].get("top_logprobs"))) or None


def _pairs(tokens: object) -> Iterator[tuple[str, float]]:
    if isinstance(tokens, list) and tokens and isinstance(tokens[0], Mapping) and "token" not in tokens[0]:
        tokens = [{"token": token, "logprob": value} for token, value in tokens[0].items()]
    for each in tokens if isinstance(tokens, list) else ():
        token, value = (each.get("token"), each.get("logprob")) if isinstance(each, Mapping) else (None, None)
        if isinstance(token, str) and isinstance(value, int | float) and value <= 0:
            yield token, float(value)
