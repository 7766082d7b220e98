"""RSVP: a model that sees finds out what a question means and in which rows and columns it is; a tool cuts out the mask.

Source: arXiv:2506.04277, section 3, as a summary of the whole paper reports it (read on 2026-11-30): the picture is
divided into M horizontal and N vertical regions, each with a number, as visual prompts; the model infers, step by step,
the object with its attributes, whether it is there, and its regions of both kinds, with the reason; the box around
these is padded; and a module of vision and language (VLSM) cuts out the mask by the box and the text. Of the densities
tried, 9 x 9 was best, and 0, 20 and 40% of padding were. Which of these is taken is our choice, and the words are our own.
"""

import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from virc.core.errors import DataError, NoAnswerError
from virc_extras.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=1024)}
TOOLS = {"segment": "segment"}

BANDS = 9
PADDING = 0.1
"""By which a box grows at each edge, as a part of its side."""
PROMPT = """All pictures show the same. Red lines divide the second one into rows, and the third one into columns. Each has its number at its beginning.

Question: {question}

Think step by step: what does the question ask for? Which object is meant, and what does it look like? Is it there at all? Which rows and columns have any part of it, and why?

Then end with three lines:
Object: its name and what it looks like, in a few words
Rows: the numbers of its rows, with commas, or none if nothing in the picture is meant
Columns: the numbers of its columns, with commas, or none"""
NOTHING = "none"
_LINE, _FONT, _HALF = "red", 20, 127  # px; 0 to 255


def solve(problem: Problem, roles: Roles) -> str:
    """The box around the mask of what is meant, in pixels of the picture; `none` where nothing is."""
    if len(problem.images) > 1:
        raise DataError(f"RSVP takes one picture, not {len(problem.images)}")
    picture = problem.images[0].pixels
    shown = (picture, banded(picture, is_column=False), banded(picture, is_column=True))
    reply = roles.eyes.ask(*shown, fill(PROMPT, question=problem.question), step="regions")
    thing, *regions = (last(name, reply) for name in ("object", "rows?", "columns?"))
    rows, columns = ([int(each) for each in re.findall(r"\d+", text) if 1 <= int(each) <= BANDS] for text in regions)
    if not (thing and rows and columns):
        if any(text.lower().startswith(NOTHING) for text in regions):
            return NOTHING
        raise NoAnswerError("the reply names no object, no rows or no columns")
    (left, right), (top, bottom) = around(columns, picture.width), around(rows, picture.height)
    cut = problem.tools.segment(picture, box=[left, top, right, bottom], text=thing)
    masks = (each.pixels.convert("L").resize(picture.size).point(lambda value: value > _HALF) for each in cut.images)
    found = next((mask.getbbox() for mask in masks), None)
    return str([*found]) if found else NOTHING


def banded(picture: Image.Image, is_column: bool) -> Image.Image:
    """A copy of the picture with its rows or columns, numbered from 1."""
    image = picture.convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    size = max(_FONT, max(image.size) // 50)  # is legible in scans that a model is shown at 1,000 px
    font = ImageFont.load_default(size)
    for number in range(BANDS):
        at = number * image.size[not is_column] // BANDS
        draw.line((at, 0, at, image.height) if is_column else (0, at, image.width, at), _LINE, size // _FONT)
        draw.text((at + 2, 0) if is_column else (2, at), str(number + 1), _LINE, font)
    return image


def around(numbers: Sequence[int], length: int) -> tuple[int, int]:
    """Where bands of a side begin and end together, with the padding, in px."""
    begin, end = (min(numbers) - 1) * length // BANDS, max(numbers) * length // BANDS
    padding = round((end - begin) * PADDING)
    return max(0, begin - padding), min(length, end + padding)


def last(name: str, text: str) -> str:
    """What stands behind a name for the last time; empty without it."""
    found = re.findall(rf"(?im)^\W*{name}\W*:[ *_]*(.*?)[ *_]*$", text)
    return str(found[-1]) if found else ""
