"""What a server counts of a reply, in tokens and money. Of counts that do not add up the larger one is taken."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from virc.backends.chat.providers import CACHED, DRAWN, READ, WRITTEN
from virc.core.taken import left

_MAX_COUNT = 2**40
_PROMPT = ("prompt_tokens_details", "input_tokens_details")
_REPLY = ("completion_tokens_details", "output_tokens_details")
_OF_DETAILS = (*CACHED, *WRITTEN, "reasoning_tokens", "image_tokens")
_USED = (
    *READ, *DRAWN, *_PROMPT, *_REPLY, *_OF_DETAILS, "total_tokens", "tokens", "cost", "estimated_cost", "cost_details",
    "is_byok",
)  # fmt: skip
_ROUNDING = 2  # tokens: some servers count the first or the last one once


class Usage(NamedTuple):
    """Counts of a reply; 0 and None: the server says nothing.

    Args:
        read: tokens of the prompt, those of a cache included.
        drawn: tokens of the reply, the thought included.
        cached: tokens of the prompt that were read from a cache or written to one.
        thought: tokens of the thought.
        of_pictures: tokens of the prompt that are of pictures.
        left: edges and names of `taken` that are not used, or do not add up.
    """

    read: int = 0
    drawn: int = 0
    cached: int = 0
    thought: int = 0
    of_pictures: int | None = None
    cost: float | None = None
    left: tuple[tuple[str, str], ...] = ()


def usage_of(sent: Mapping[str, Any]) -> Usage:
    """The counts in a `usage`; servers give one under several names.

    Tokens of a cache, OpenAI's API counts in the prompt, and Anthropic's next to it; those of a thought, OpenAI's in
    the reply, xAI's next to it, and Google's in the total alone.
    """
    counts = [sent, sent.get("tokens")]  # Cohere's
    prompt, reply = ([sent[name] for name in names if isinstance(sent.get(name), dict)] for names in (_PROMPT, _REPLY))
    read, drawn, total = _largest(counts, READ), _largest(counts, DRAWN), _largest([sent], ("total_tokens",))
    cached = _largest([sent, *prompt], CACHED) + _largest([sent, *prompt], WRITTEN)
    read = read + cached if cached > read else read
    thought, apart = _largest([sent, *reply], ("reasoning_tokens",)), total - read - drawn if total and read else 0
    names = [("usage", name) for name in left("usage", sent, _USED)]
    names += [("usage", name) for each in (*prompt, *reply) for name in left("usage", _given(each), _OF_DETAILS)]
    if all(abs(apart - part) > _ROUNDING for part in (0, cached, thought)):
        names.append(("sums", "total_tokens"))
    drawn += apart if apart > _ROUNDING and abs(apart - cached) > _ROUNDING else 0
    if thought > drawn:
        names.append(("sums", "reasoning_tokens"))
    cost, upstream = (_amount(sent.get(name)) for name in ("cost", "cost_details"))
    cost = _amount(sent.get("estimated_cost")) if cost is None else cost  # DeepInfra's
    if upstream and sent.get("is_byok"):  # OpenRouter's: `cost` is its own fee alone
        cost = (cost or 0.0) + upstream
    elif upstream and cost is not None and upstream > cost:
        names.append(("sums", "cost_details"))
        cost = upstream
    pictures = [each["image_tokens"] for each in prompt if type(each.get("image_tokens")) is int]
    return Usage(read, max(drawn, thought), cached, thought, max(pictures, default=None), cost, tuple(names))


def _given(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if count}


def _amount(value: object) -> float | None:
    if isinstance(value, Mapping):  # Perplexity sends an object, and OpenRouter one beside the cost
        value = value.get("total_cost", value.get("upstream_inference_cost"))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < math.inf else None  # type: ignore[arg-type, operator]


def _largest(counts: Iterable[object], names: tuple[str, ...]) -> int:
    """The largest count of tokens by one of the names, also as text or with a fraction; 0 for what is none."""
    found = [each.get(name) for each in counts if isinstance(each, Mapping) for name in names]
    return max((_count(each) for each in found), default=0)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0
    return int(number) if 0 <= number <= _MAX_COUNT else 0
