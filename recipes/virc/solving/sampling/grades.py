"""Grades: the number that a verifier's reply gives, and nothing that merely stands in it.

A reply such as `Step 2 is wrong, so 9 of 10 would be too much` holds numbers and no grade: to read one of them would
let a wrong candidate win without a trace.
"""

import math
import re

from virc.core.limits import bounded

FORM = "score: N"
"""How a verifier is asked to end its reply."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_MARKS = r"[*_`\s]*"
_OUT_OF = rf"(?:\s*(?:/|out\s+of|of)\s*{_NUMBER})?"
_LABELLED = re.compile(
    rf"\b(?:score|grade|rating){_MARKS}(?:[:=]|\bis\b){_MARKS}({_NUMBER}){_MARKS}{_OUT_OF}(?![\w.]*\d|\s*%)",
    re.IGNORECASE,
)
_MAX_GRADES = 1000  # that are read in a reply
_BARE = re.compile(rf"{_MARKS}({_NUMBER}){_MARKS}{_OUT_OF}{_MARKS}[.]?{_MARKS}")


def read_score(reply: str, pattern: str | None = None) -> float | None:
    """The grade in a reply; None where there is none, or several that differ.

    Without a pattern it is the number after `score`, `grade` or `rating` and a colon, `=` or `is`, in any case, also in
    Markdown; or a reply that is a number alone. Of `7/10` and `7 out of 10` it is 7. Thoughts before `</think>` are not
    read.

    Args:
        pattern: regular expression whose one group is the number; every match in the reply counts.
    """
    text = reply.rpartition("</think>")[2]
    if pattern is None:
        found = _LABELLED.findall(text)
    else:
        found = [match[1] or "" for match in bounded.find(pattern, text, _MAX_GRADES)]
    if not found and pattern is None and (bare := _BARE.fullmatch(text)):
        found = [bare[1]]
    try:
        grades = {float(each) for each in found}
    except ValueError:
        return None
    grade = grades.pop() if len(grades) == 1 else math.nan
    return grade if math.isfinite(grade) else None
