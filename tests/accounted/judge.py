"""Says of a changed input whether virc used, named or refused the change, or passed over it."""

import json
import re
from collections.abc import Collection
from typing import Any, Literal

from accounted.trial import Effect

Verdict = Literal["used", "named", "refused", "passed over", "quiet", "noise"]
Sort = Literal["meaning", "moved", "wrong", "harmless"]
"""What a change is: it carries meaning; it has the same meaning elsewhere, where it is used only if nothing changes; it
contradicts the rest, or nothing follows it, so that a sentence has to say so; it is harmless."""
VIOLATIONS = ("passed over", "noise")
_INTERNAL = "internal: "
_NO_ANSWER = 8  # an exit code that refuses nothing: the model was asked
_MIN_WORD = 3  # characters of a value by which a sentence may name it


def judge(sort: Sort, names: Collection[str], before: Effect, after: Effect) -> Verdict:
    """Compare the effect of a changed input with that of the ordinary one.

    Args:
        names: words of which a sentence has to have one to name the change.
    """
    new = after.told - before.told
    if sort == "harmless":
        return "quiet" if after.code == before.code and not any(_names(each, names) for each in new) else "noise"
    if any(_INTERNAL in each for each in after.told):
        return "passed over"
    if after.code not in (0, _NO_ANSWER, before.code):
        return "refused"
    if any(_names(each, names) for each in new):
        return "named"
    is_used = {"meaning": after.done != before.done, "moved": after.done == before.done}.get(sort, False)
    return "used" if is_used else "passed over"


def words(key: str, value: Any) -> set[str]:
    """The words by which a sentence may name a field: its name, and what its value holds."""
    return {key.partition("~")[0], *_texts(value)}


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for each in value.items() for part in each for text in _texts(part)}
    if isinstance(value, list):
        return {text for each in value for text in _texts(each)}
    text = value if isinstance(value, str) else json.dumps(value)
    return {text} if len(text) >= _MIN_WORD and text not in ("true", "false", "null") else set()


def _names(sentence: str, names: Collection[str]) -> bool:
    told = sentence.lower()
    return any(re.search(rf"(?<![a-z0-9]){re.escape(each.lower())}(?![a-z0-9])", told) for each in names)
