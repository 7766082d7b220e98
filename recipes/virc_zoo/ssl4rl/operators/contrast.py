"""Are both pictures of one? Two crops of the row's picture; and one of it next to one of another row's (SSL4RL).

The answers are positive and negative. Source: PKU-ML/SSL4RL@57c830a, build_benchmarks/makecontrastive_*.py.
"""

import threading
from itertools import islice
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from PIL import Image

from virc.core.errors import DataError, UsageError
from virc.core.files import expanded
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.make.self_labelled import FORMAT, MIN_SIDE, asked
from virc_zoo.ssl4rl.operators._augment import AUGMENTATIONS, cropped

QUESTION = (
    "Both pictures are crops, whose colours may be changed, and which may be blurred or mirrored. Are they of the same "
    "picture? " + FORMAT.format("positive if they are, negative if they are not,")
)
MAX_OTHERS = 4096
"""Rows at the beginning of a file that others are drawn from."""
_TRIES = 20
_pools: dict[tuple[str, int, int], list[Row]] = {}
_reading = threading.Lock()


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What crops are made of, and how.

    Args:
        others: file of rows that have the other pictures; as a rule the rows themselves.
        augment: how strongly crops are changed; published: weak, and strong for ImageNet and MMStar.
        side: width and height of a crop as it is shown, px.
        question: in place of this package's own words.
    """

    others: str
    augment: Literal["weak", "strong"] = "weak"
    side: Annotated[int, Meta(ge=MIN_SIDE, le=2048)] = 224
    question: str = ""


def run(row: Row, means: Means[Options]) -> Made:
    """Make a pair of one picture, and a pair of two."""
    options, picture, rows = means.options, means.image(row), []
    other = _other(row, means, picture)
    if other is None:
        return left_out("no other picture", f"{_TRIES} rows of {options.others} have no other")
    for answer, second in (("positive", picture), ("negative", other)):
        crops = [
            cropped(each, AUGMENTATIONS[options.augment], options.side, means.random) for each in (picture, second)
        ]
        images = [means.save(crop, f"{answer}-{number}") for number, crop in enumerate(crops, 1)]
        rows.append(
            {**asked(row, images, options.question or QUESTION, answer, "ContrastiveQA"), "id": f"{row.id}-{answer}"}
        )
    return kept(*rows)


def _other(row: Row, means: Means[Options], picture: Image.Image) -> Image.Image | None:
    """A picture of another row that is not the same, as several rows may have one; None: none was found."""
    pool = _pool(means)
    for drawn in (means.random.choice(pool) for _ in range(_TRIES if pool else 0)):
        try:
            other = means.image(drawn)
        except DataError:  # that row's own fault
            continue
        if other != picture:
            return other
    return None


def _pool(means: Means[Options]) -> list[Row]:
    """The rows that others are drawn from, read once."""
    path = means.options.others
    try:
        found = expanded(path).stat()
    except OSError as error:
        raise UsageError(f"others: there is no file {path}", "--set others=ROWS") from error
    with _reading:
        if (key := (path, found.st_mtime_ns, found.st_size)) not in _pools:
            rows = islice(means.rows(path), MAX_OTHERS)
            _pools[key] = [msgspec.structs.replace(row, fields={}, passed={}) for row in rows]
        return _pools[key]
