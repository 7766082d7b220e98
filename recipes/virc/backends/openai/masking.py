"""The API key in texts of a server."""

import html
import json
import re
from functools import cache
from urllib.parse import quote, quote_plus

_LONG = 16
"""Characters from which on a key is no part of a word of a language, and is hidden wherever it stands."""
_WORD = "[A-Za-z0-9]"


def hidden(text: str, key: str) -> str:
    """The text without the key: `***` stands for it, also where it is escaped as in a URL, in JSON or in HTML.

    A short key is hidden as a whole word alone: the key `a` or `sk` stands in many words.
    """
    return _of(key).sub("***", text) if key else text


@cache
def _of(key: str) -> re.Pattern[str]:
    """An expression that finds a key."""
    escaped = {key, quote(key, safe=""), quote(key), quote_plus(key), json.dumps(key)[1:-1], html.escape(key)}
    escaped |= {each.replace("/", "\\/") for each in escaped}
    # Servers differ in how they write the digits of an escape: %2f is %2F.
    ways = sorted((re.sub("%[0-9A-F]{2}", lambda found: f"(?i:{found[0]})", re.escape(each)) for each in escaped),
                  key=len, reverse=True)  # fmt: skip
    either = "|".join(ways)
    if len(key) >= _LONG:
        return re.compile(either)
    before = rf"(?<!{_WORD})(?<!{_WORD}[-_.])" if re.match(_WORD, key[0]) else ""
    after = rf"(?!{_WORD})(?![-_.]{_WORD})" if re.match(_WORD, key[-1]) else ""
    return re.compile(f"{before}(?:{either}){after}")
