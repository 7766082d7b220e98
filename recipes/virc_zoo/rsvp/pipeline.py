"""RSVP: a model that sees finds out what a question means and in which numbered regions it is; a tool cuts out the mask.

Source: arXiv:2506.04277, section 3, as a review of it reports that: the picture is divided into M columns and N rows, each
with a number, as a visual prompt; the model infers, step by step, the object with its attributes and its regions; and a
module of vision and language (VLSM) cuts out the mask by the region and the text. The words, M and N are of no
publication: its authors published no code.
"""

import re

from PIL import Image, ImageDraw, ImageFont

from virc.core.errors import NoAnswerError
from virc_extras.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=1024)}
TOOLS = {"segment": "segment"}

COLUMNS, ROWS = 4, 4
PROMPT = """Both pictures show the same. In the second one, red lines divide it into regions, each with its number in its upper left corner.

Question: {question}

Think step by step: what does the question ask for? Which objects are there, and how do they relate to each other? Which of them is meant, and what does it look like? In which regions is any part of it?

Then end with two lines:
Object: its name and what it looks like, in a few words
Regions: the numbers of its regions, with commas, or none if nothing in the picture is meant"""
NOTHING = "none"
_OBJECT = re.compile(r"(?im)^\W*object\W*:[ *_]*(.*?)[ *_]*$")
_REGIONS = re.compile(r"(?im)^\W*regions\W*:[ *_]*(.*?)[ *_]*$")
_LINE, _FONT = "red", 20  # px


def solve(problem: Problem, roles: Roles) -> str:
    """The box around the mask of what is meant, in pixels of the picture; `none` where nothing is."""
    picture = problem.images[0].pixels
    reply = roles.eyes.ask(picture, gridded(picture), fill(PROMPT, question=problem.question), step="regions")
    thing, regions = last(_OBJECT, reply), last(_REGIONS, reply)
    numbers = [int(each) for each in re.findall(r"\d+", regions) if 1 <= int(each) <= COLUMNS * ROWS]
    if not numbers:
        if regions.lower().startswith(NOTHING):
            return NOTHING
        raise NoAnswerError("the reply names no region")
    cut = problem.tools.segment(picture, box=around(numbers, picture.size), text=thing)
    found = cut.images[0].pixels.convert("L").getbbox() if cut.images else None
    return str([*found]) if found else NOTHING


def edges(length: int, parts: int) -> list[int]:
    """Where the parts of a side begin and end, in px."""
    return [part * length // parts for part in range(parts + 1)]


def gridded(picture: Image.Image) -> Image.Image:
    """A copy of the picture with its regions, numbered from 1, row by row."""
    image = picture.convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    across, down = edges(image.width, COLUMNS), edges(image.height, ROWS)
    for x in across[1:-1]:
        draw.line((x, 0, x, image.height), _LINE)
    for y in down[1:-1]:
        draw.line((0, y, image.width, y), _LINE)
    font = ImageFont.load_default(_FONT)
    for number in range(ROWS * COLUMNS):
        draw.text((across[number % COLUMNS] + 2, down[number // COLUMNS]), str(number + 1), _LINE, font)
    return image


def around(numbers: list[int], size: tuple[int, int]) -> list[int]:
    """The box around regions: left, top, right, bottom in px."""
    across, down = edges(size[0], COLUMNS), edges(size[1], ROWS)
    columns, rows = ([at(each - 1, COLUMNS) for each in numbers] for at in (int.__mod__, int.__floordiv__))
    return [across[min(columns)], down[min(rows)], across[max(columns) + 1], down[max(rows) + 1]]


def last(pattern: re.Pattern[str], text: str) -> str:
    """The group of the last match; empty without one."""
    found = pattern.findall(text)
    return str(found[-1]) if found else ""
