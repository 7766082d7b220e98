"""What a server counts of a reply, in tokens and money. Of counts that do not add up the larger one is taken."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from virc.backends.chat.providers import CACHED, DRAWN, READ, WRITTEN
from virc.config.taken import left

_MAX_COUNT = 2**40
_PROMPT = ("prompt_tokens_details", "input_tokens_details")
_REPLY = ("completion_tokens_details", "output_tokens_details")
_PARTS = (*CACHED, *WRITTEN, "reasoning_tokens", "image_tokens")
_COSTS = {"cost": 1.0, "estimated_cost": 1.0, "cost_in_usd_ticks": 1e-10}  # the last is xAI's, docs.x.ai: Cost Tracking
_UPSTREAM = ("cost_details", "upstream_inference_cost")
_USED = (*READ, *DRAWN, *_PROMPT, *_REPLY, *_PARTS, *_UPSTREAM, "is_byok", "tokens")
_ROUNDING = 2  # tokens: some servers count the first or the last one once


def fields_of_usage(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The counts in a `usage`, as fields of a reply, with what is not used or does not add up in `left`.

    Servers give a count under several names. Tokens of a cache, OpenAI's API counts in the prompt, and Anthropic's next
    to it; those of a thought, OpenAI's in the reply, xAI's next to it, and Google's in the total alone.
    """
    counts = [sent, sent.get("tokens")]  # Cohere's
    prompt, reply = ([sent[name] for name in names if isinstance(sent.get(name), dict)] for names in (_PROMPT, _REPLY))
    read, drawn, total = _largest(counts, READ), _largest(counts, DRAWN), _largest([sent], ("total_tokens",))
    cached = _largest([sent, *prompt], CACHED) + _largest([sent, *prompt], WRITTEN)
    read = read + cached if cached > read else read
    thought = _largest([sent, *reply], ("reasoning_tokens",))
    read = read or (max(0, total - drawn) if drawn else 0)
    apart = total - read - drawn if total and read else 0
    if not _is_near(apart, 0, thought) and _is_near(apart - cached, 0, thought):  # Anthropic's, of a gateway
        read, apart = read + cached, apart - cached
    costs = {name: each * unit for name, unit in _COSTS.items() if (each := _amount(sent.get(name))) is not None}
    used = (*_USED, *costs, "total_tokens" if read else "")
    given = {key: each for key, each in sent.items() if each}
    names = [("usage", name) for name in left("usage", given, used)]
    for part in (*prompt, *reply):
        names += [("usage", name) for name in left("usage", {key: each for key, each in part.items() if each}, _PARTS)]
    drawn += apart if apart > _ROUNDING else 0
    cost, upstream = next(iter(costs.values()), None), next(filter(None, map(_amount, map(sent.get, _UPSTREAM))), None)
    if upstream and sent.get("is_byok"):  # OpenRouter's, which with the user's own key has but its own fee in `cost`
        cost = (cost or 0.0) + upstream
    wrong = {
        "total_tokens": not _is_near(apart, 0, thought),
        "reasoning_tokens": thought > drawn,
        "cost_details": cost is not None and (upstream or 0) > cost * (1 + 1e-6),
    }
    # gateways write 0 for each kind of tokens that they do not count
    counted = [each for each in prompt if each.get("image_tokens") or each.get("text_tokens") != 0]
    pictures = [each["image_tokens"] for each in counted if type(each.get("image_tokens")) is int]
    return {
        "prompt_tokens": read or None,
        "completion_tokens": max(drawn, thought) or None,
        "cached_tokens": cached,
        "thought_tokens": thought,
        "picture_tokens": max(pictures, default=None),
        "cost": upstream if wrong["cost_details"] else cost,
        "left": (*names, *(("sums", name) for name, is_wrong in wrong.items() if is_wrong)),
    }


def _is_near(count: int, *parts: int) -> bool:
    return any(abs(count - part) <= _ROUNDING for part in parts)


def _amount(value: Any) -> float | None:
    if isinstance(value, Mapping):  # Perplexity sends an object, and OpenRouter one beside the cost
        value = value.get("total_cost", value.get("upstream_inference_cost"))
    with suppress(ValueError, OverflowError):
        amount = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
        return amount if 0 <= amount < math.inf else None
    return None


def _largest(counts: Iterable[object], names: tuple[str, ...]) -> int:
    """The largest count of tokens by one of the names, also as text or with a fraction; 0 for what is none."""
    found = [each.get(name) for each in counts if isinstance(each, Mapping) for name in names]
    return max(map(_count, found), default=0)


def _count(value: object) -> int:
    with suppress(ValueError, OverflowError):
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
        return int(number) if 0 <= number <= _MAX_COUNT else 0
    return 0
