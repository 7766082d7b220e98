"""Leave out rows that are there before, also in other files: the same picture, nearly, and the same words."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.data.rows.fingerprint import EDGE, are_copies, bands, fingerprint, words
from virc_extras.make.operator import LeftOut, Means, Measured, Plan, Row

_SIGNS = re.compile(r"[+*/=<>^%×÷±√≤≥≠−]|(?<!\w)-|-(?=\d)")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes rows the same.

    Args:
        by: the picture and the question (`both`), or one of them.
        against: files with whose rows none is to be the same, such as those of a benchmark.
    """

    by: Literal["both", "picture", "text"] = "both"
    against: list[str] = []


def measure(row: Row, means: Means[Options]) -> dict[str, Any]:
    by, value = means.options.by, dict[str, Any]()
    if by != "picture":
        question = _question(row)
        text = " ".join([words(question), *_SIGNS.findall(question)])  # 5 + 3 is not 5 - 3
        value["text"] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    if by != "text":
        prints = [fingerprint(means.image(row, at)) for at in range(len(row.images))]
        value["prints"] = [base64.b64encode(each.tobytes()).decode() for each in prints]
    return value


def plan(measured: Iterable[Measured], means: Means[Options]) -> Plan:
    """The first of rows that are the same; fingerprints are in memory of rows that may have a copy alone."""
    by, theirs = means.options.by, [*_against(means)]
    met = Counter(key for value in theirs for key in _keys(value, by))
    met.update(key for each in measured for key in _keys(each.value, by))
    seen, order, out = dict[str, list[tuple[str, list[Image.Image]]]](), list[int](), dict[int, LeftOut]()
    for value in theirs:
        _remember(value, by, "a row of against", seen, met)
    for each in measured:
        prints, keys = _images(each.value), _keys(each.value, by)
        met_before = [each for key in keys for each in seen.get(key, ()) if len(each[1]) == len(prints)]
        same = (name for name, others in met_before if all(map(are_copies, prints, others)))
        if (name := next(same, None)) is None:
            order.append(each.number)
            _remember(each.value, by, f"row {each.id!r}", seen, met)
        else:
            out[each.number] = LeftOut("against" if name == "a row of against" else "copy", f"it is the same as {name}")
    return Plan(order, out)


def _question(row: Row) -> str:
    turns = row.fields.get("messages") or row.fields.get("conversations") or ()
    said = (
        each for each in turns if isinstance(each, dict) and each.get("role", each.get("from")) in ("user", "human")
    )
    return row.question or str(next((each.get("content", each.get("value")) for each in said), ""))


def _against(means: Means[Options]) -> Iterator[dict[str, Any]]:
    for file in means.options.against:
        for row in means.rows(file):
            try:
                yield measure(row, means)
            except DataError:
                continue


def _remember(value: dict[str, Any], by: str, name: str, seen: dict[str, Any], met: Counter[str]) -> None:
    for key in _keys(value, by):
        if met[key] > 1:
            seen.setdefault(key, []).append((name, _images(value)))


def _images(value: dict[str, Any], most: int | None = None) -> list[Image.Image]:
    return [Image.frombytes("L", (EDGE, EDGE), base64.b64decode(each)) for each in value.get("prints", ())[:most]]


def _keys(value: dict[str, Any], by: str) -> list[str]:
    """What rows that are the same share one of: the words, else a part of the hash of the first picture."""
    if by != "picture":
        return [value["text"]]
    return [band for first in _images(value, 1) for band in bands(first)]
