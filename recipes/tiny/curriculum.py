"""Training examples of `tiny`, easiest first: read a crop, find corners, do sums, compare, then whole trajectories.

Every example is a conversation in the chat format of the real task, or a part of one, so one encoder is enough. Its
labels are all assistant turns, or only the words in them that the example names.
"""

import random
from collections.abc import Sequence

import msgspec
from PIL import Image

from tiny.architecture import MAX_PIXELS, MERGE, MIN_PIXELS, PATCH
from virc.data.synth import sketch, worked
from virc.data.synth.families import polygons
from virc.data.synth.families.polygons import CROP, NAMES, Diagram
from virc.data.synth.problem import meet
from virc.data.synth.sketch import mask
from virc.reasoning.calls import Box
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Done, Message, Reply, Session
from virc.tools.registry import known
from virc_extras.drawn import unfamiliar

GRID_OF_TINY = Grid(factor=PATCH * MERGE, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
_LABEL_PAGES = (112, 112, 140, 168, 196, 224, 252)  # px a side


class Example(msgspec.Struct, frozen=True):
    """Messages to learn from and the images they show, sized on the patch grid.

    Args:
        only: words of one token each, the only labels; empty: all text of the assistant.
    """

    messages: list[Message]
    images: list[Image.Image]
    only: tuple[str, ...] = ()


def read_glyphs(rng: random.Random) -> Example:
    """One to three characters on a small image, to be read: connects the vision tower's features with tokens."""
    face = sketch.random_style(rng).face
    text = rng.choice((rng.choice(NAMES), rng.choice("0123456789?"), str(rng.randint(10, 150))))
    glyphs = mask(text, face)
    width, height = 28 if glyphs.width < 20 else 56, 28
    slip = Image.new("L", (width, height), rng.choice((255, 255, 245)))
    place = rng.randint(0, width - glyphs.width), rng.randint(0, height - glyphs.height)
    slip.paste(rng.choice((0, 0, 40, 80)), place, glyphs)
    return pair("Read.", text, slip.convert("RGB"))


def read_crop(rng: random.Random) -> Example:
    """A crop around a corner, slightly off: its letter and value."""
    diagram = polygons.generate(rng)
    corner = rng.choice(diagram.corners)
    left, top, _, _ = polygons.crop_of(corner, diagram.width, diagram.height)
    x = _clamp(left + rng.randint(-10, 10), diagram.width)
    y = _clamp(top + rng.randint(-10, 10), diagram.height)
    crop = polygons.draw(diagram).crop((x, y, x + CROP, y + CROP))
    return pair("Read.", f"{corner.letter} is {corner.printed}.", crop)


def list_labels(rng: random.Random) -> Example:
    """One to three labels on an empty page, and the box of each in reading order: positions, before figures.

    On a small page a label is one token of ten, not of eighty, which makes attention to it easier to learn.
    """
    width, height = rng.choice(_LABEL_PAGES), rng.choice(_LABEL_PAGES)
    style = sketch.random_style(rng)
    page = Image.new("L", (width, height), style.paper)
    boxes: list[Box] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        glyphs = [mask(text, style.face) for text in (rng.choice(NAMES), rng.choice(("?", str(rng.randint(24, 150)))))]
        wide, high = max(glyph.width for glyph in glyphs), sum(glyph.height for glyph in glyphs) + 8
        left, top = rng.randint(2, width - wide - 2), rng.randint(2, height - high - 2)
        label = (left, top, left + wide, top + high)
        if any(meet(label, (b[0] - 20, b[1] - 20, b[2] + 20, b[3] + 20)) for b in boxes):
            continue
        boxes.append(label)
        rng.shuffle(glyphs)
        page.paste(style.ink, (left, top), glyphs[0])
        page.paste(style.ink, (left, top + high - glyphs[1].height), glyphs[1])
    return _boxes(sorted(polygons.crop_around(box, width, height) for box in boxes), page.convert("RGB"))


def list_corners(rng: random.Random) -> Example:
    """A diagram: the box of every corner, in reading order, as in a trajectory."""
    diagram = polygons.generate(rng)
    boxes = [polygons.crop_of(corner, diagram.width, diagram.height) for corner in diagram.reading_order()]
    return _boxes(boxes, polygons.draw(diagram))


def sums(rng: random.Random, sides: Sequence[int] = (3, 3, 4)) -> Example:
    """The sums in the last turn of a solution, whose earlier turns are given as text, without a picture."""
    diagram = polygons.generate(rng, sides=sides, printed=False)
    *earlier, last = worked.replies(polygons.solution(diagram))
    shown = f"{diagram.reading_order()[-1].letter} is {diagram.reading_order()[-1].printed}."
    given = [Message("user", text) for text in (diagram.question, *earlier, shown)]
    return Example([*given, Message("assistant", last)], [])


# What follows a reading: continue, stop, or compute. Each is one token of the tokenizer (`corpus`).
VERDICTS = ("Look at the next corner.", worked.FOUND, "The sum is ")


def compare(rng: random.Random) -> Example:
    """One thought of a solution, as text: whether the value that was read is the asked one, as in half of them.

    Whole solutions do not teach it: 48,000 of them, with a few such verdicts among 150 tokens each, did not.
    """
    needed, other = rng.sample(NAMES, 2)
    box = (0, 0, CROP, CROP)
    one, another = (worked.Spot(box, box, f"{letter} is {rng.randint(25, 140)}.") for letter in (needed, other))
    spots = [one] if rng.random() < 0.5 else [another, one]
    solution = worked.Solution(polygons.NOUN, "", spots, worked.FOUND, "", wanted=polygons.wanted(needed))
    thought, _, _ = worked.replies(solution)[1].partition("</think>")
    return Example([Message("assistant", thought)], [], VERDICTS)


def stops(rng: random.Random) -> Example:
    """A whole solution as text, without its pictures; only the verdicts are labels."""
    diagram = polygons.generate(rng, printed=rng.random() < 0.5)
    blank = Image.new("L", (diagram.width, diagram.height))  # the turns announce its size, but do not show it
    messages = driven(diagram.question, blank, worked.replies(polygons.solution(diagram))).messages
    return Example([Message(each.role, each.text) for each in messages], [], VERDICTS)


def trajectory(rng: random.Random, sides: Sequence[int] = (3, 4)) -> Example:
    """A diagram solved by a crop of each corner, in the exact chat protocol of inference."""
    return solve(polygons.generate(rng, sides=sides))


def solve(diagram: Diagram) -> Example:
    """The worked solution of a diagram in the Session that inference uses."""
    return driven(diagram.question, polygons.draw(diagram), worked.replies(polygons.solution(diagram)))


def refusal(rng: random.Random) -> Example:
    """A picture or a question from outside the family, refused in the first turn."""
    family = polygons.generate(rng)
    kind = rng.random()
    picture = polygons.draw(family) if kind < 0.2 else unfamiliar.picture(rng)
    question = family.question if kind > 0.6 else unfamiliar.question(rng)
    size = smart_resize(picture.width, picture.height, GRID_OF_TINY)
    return driven(question, picture.resize(size, Image.Resampling.BICUBIC), [worked.REFUSAL])


def missing_corner(rng: random.Random) -> Example:
    """A diagram and a question about a corner it does not have."""
    diagram = polygons.generate(rng)
    question, search = polygons.absent(diagram, rng)
    return driven(question, polygons.draw(diagram), worked.replies(search))


def direct(rng: random.Random, sides: Sequence[int] = (3, 3, 4)) -> Example:
    """A diagram answered from the overview without tools, for the control model."""
    diagram = polygons.generate(rng, sides=sides)
    replies = worked.replies(polygons.solution(diagram), "direct")
    return driven(diagram.question, polygons.draw(diagram), replies)


def driven(question: str, picture: Image.Image, replies: Sequence[str]) -> Example:
    """Replies as a conversation, made by the Session that inference uses."""
    session = Session(worked.PROTOCOL, question, [picture], grid=GRID_OF_TINY, tools=known())
    for text in replies:
        session.feed(Reply(text))
    done = session.next()
    assert isinstance(done, Done)
    return Example(list(done.trace.messages), [shown.pixels for shown in session.images])


def pair(question: str, answer: str, image: Image.Image) -> Example:
    """One question about an image, and its answer."""
    return Example([Message("user", question, (0,)), Message("assistant", answer)], [image])


def _boxes(boxes: Sequence[Box], page: Image.Image) -> Example:
    """A page, and its boxes as a model lists them."""
    return pair("List.", " ".join(f"[{', '.join(map(str, box))}]" for box in boxes), page)


def _clamp(start: int, side: int) -> int:
    return max(0, min(side - CROP, start))
