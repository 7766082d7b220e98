"""How long a server asks to wait before it is asked again."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "mi": 60.0, "m": 60.0, "ho": 3600.0, "hr": 3600.0, "h": 3600.0, "da": 86_400.0, "d": 86_400.0}
"""First two letters of a unit -> seconds."""
_AMOUNT = (
    r"[0-9]{1,14}+(?:\.[0-9]++)?(?![0-9])\s*+(?:ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)?(?![a-z])"
)
_SAID = re.compile(
    r"(?:retry|try again|wait|resets?|available)(?:delay|in|after|again|at least|for|about|[\s'\":=_-])*+"
    rf"((?:{_AMOUNT}[\s,]*)+)",
    re.IGNORECASE,
)
_RESETS = re.compile(r"(?:x-|anthropic-)?rate-?limit-(?:.*-)?reset(?:-.*)?", re.IGNORECASE)
_MIN_TIME = 1e9  # larger numbers are times, in seconds since 1970


def seconds_asked(headers: Mapping[str, str], said: str = "") -> float | None:
    """Return the seconds that a refusal asks to wait, by its headers, else its body (`said`); None: it asks for none.

    Retry-After (RFC 9110), RateLimit and other headers of limits have seconds, durations (`1m30s`), dates or times
    since 1970.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if (exact := _until(lower.get("retry-after-ms", ""), 0.001)) is not None:
        return exact
    if lower.get("retry-after"):
        return _until(lower["retry-after"])
    if spent := _spent(lower.get("ratelimit", "")):
        return max(spent)
    if found := _SAID.search(said[:4096]):
        return _until(found[1])
    resets = [
        _until(value)
        for name, value in lower.items()
        if _RESETS.fullmatch(name) and lower.get(name.replace("reset", "remaining"), "0").strip() in ("0", "0.0")
    ]
    return max((each for each in resets if each is not None), default=None)


def _spent(limits: str) -> list[float]:
    """Seconds until each used up limit of a `RateLimit` header (IETF draft) is reset: 42 in `"api";r=0;t=42`."""
    policies = [limits] if "reset" in limits else limits.split(",")
    fields = [dict(re.findall(r"\b([a-z]+)\s*=\s*\"?([0-9]{1,9})", policy.lower())) for policy in policies]
    used_up = [each for each in fields if each.get("r", each.get("remaining")) == "0"]
    return [float(seconds) for each in used_up if (seconds := each.get("t", each.get("reset")))]


def _until(text: str, unit: float = 1.0) -> float | None:
    """The seconds until what a text says: a duration (without a unit in `unit` seconds), a time or a date; or None."""
    text, now = text.strip().lower().replace("z", "+00:00"), datetime.now(UTC).timestamp()
    if parts := re.fullmatch(rf"(?:{_AMOUNT}[\s,]*)+", text):
        amounts = re.findall(r"(\d[\d.]*)\s*([a-z]*)", parts[0])
        total = sum(float(number) * _UNITS.get(word[:2], unit) for number, word in amounts)
        if total <= _MIN_TIME:
            return total
        time_asked = total / 1000 if total > 1000 * _MIN_TIME else total  # some write milliseconds
        return max(0.0, time_asked - now)
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, OverflowError, TypeError):
            return max(0.0, read(text).timestamp() - now)
    return None
