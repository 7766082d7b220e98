"""Pictures and questions of no family, for `virc data synth --refusals`: `tiny` must answer them with `unreadable`.

Sizes are in px. Everything is drawn from a seed.
"""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from virc.data.synth.families import polygons
from virc.data.synth.sketch import LETTERS, Face, mask

_WORDS = (
    "the of and to in a is that it was for on with as his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over "
    "did down only way find use may water long little very after words called just where most know colour price table "
    "chart bar line year total value area length radius circle square perimeter car dog cat street sign number count "
    "left right above below red blue green yellow name title largest smallest average between difference sum"
).split()


def question(rng: random.Random) -> str:
    """A question that no diagram answers: random words, sometimes with numbers and letters."""
    words = rng.choices(_WORDS, k=rng.randint(2, 12))
    if rng.random() < 0.4:
        words.insert(rng.randrange(len(words)), str(rng.randint(0, 999)))
    if rng.random() < 0.4:
        words.insert(rng.randrange(len(words)), "".join(rng.choices(LETTERS, k=rng.randint(1, 4))))
    start = rng.choice(("What is", "Find", "How many", "Which", "Where is", "Is", "Read", "Describe", "Why does", ""))
    return f"{start} {' '.join(words)}{rng.choice(('?', '.', ''))}".strip()


def picture(rng: random.Random) -> Image.Image:
    """A picture of one of the kinds below, RGB, 28 to 1,200 px a side."""
    width, height = rng.choice(_SIDES), rng.choice(_SIDES)
    if rng.random() < 0.3:
        width, height = round(width * rng.uniform(1, 4)), round(height * rng.uniform(1, 4))
    image = rng.choice(_KINDS)(rng, max(28, width), max(28, height))
    return image if rng.random() < 0.85 else image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))


def empty_picture(rng: random.Random) -> Image.Image:
    return rng.choice((_noise, _blank, _gradient))(rng, rng.choice(_SIDES), rng.choice(_SIDES))


_SIDES = (84, 112, 140, 168, 196, 224, 224, 252, 252, 280, 300)


def _shade(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _pale(rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < 0.4:
        return 255, 255, 255
    return rng.randrange(225, 256), rng.randrange(225, 256), rng.randrange(225, 256)


def _noise(rng: random.Random, width: int, height: int) -> Image.Image:
    small = rng.choice((1, 1, 2, 4, 8, 16))
    size = max(1, width // small), max(1, height // small)
    channels = rng.choice((1, 3))
    data = rng.randbytes(size[0] * size[1] * channels)
    image = Image.frombytes("L" if channels == 1 else "RGB", size, data).convert("RGB")
    image = image.resize((width, height), rng.choice((Image.Resampling.NEAREST, Image.Resampling.BICUBIC)))
    return Image.blend(image, Image.new("RGB", image.size, _shade(rng)), rng.uniform(0, 0.8))


def _blank(rng: random.Random, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), rng.choice((_shade, _pale))(rng))


def _gradient(rng: random.Random, width: int, height: int) -> Image.Image:
    columns, rows = rng.randint(2, 9), rng.randint(2, 9)
    low = Image.frombytes("RGB", (columns, rows), rng.randbytes(columns * rows * 3))
    image = low.resize((width, height), Image.Resampling.BICUBIC)
    pencil = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 12)):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randint(4, max(5, width // 3))
        pencil.ellipse((x - r, y - r * rng.uniform(0.3, 1), x + r, y + r), fill=_shade(rng))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4)))


def _photo(rng: random.Random, width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), _shade(rng))
    scale, strength = rng.choice((2, 3, 4)), rng.uniform(0.4, 0.7)
    while scale < max(width, height):
        low = Image.frombytes("RGB", (scale, scale), rng.randbytes(scale * scale * 3))
        image = Image.blend(image, low.resize((width, height), Image.Resampling.BICUBIC), strength)
        scale, strength = scale * 2, strength * rng.uniform(0.6, 0.9)
    return image if rng.random() < 0.7 else image.convert("L").convert("RGB")


def _text(rng: random.Random, width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), rng.choice((_pale, _pale, _shade))(rng))
    pencil = ImageDraw.Draw(image)
    face = Face(rng.choice(("sans", "plotter")), rng.choice((6, 7, 8, 10, 12, 16)), rng.random() < 0.3)
    font = ImageFont.load_default(size=face.size * 1.4)
    book = rng.random() < 0.6
    y = margin = rng.randint(2, 16)
    ink = (rng.randrange(110),) * 3
    while y < height - face.size - 2 and rng.random() < 0.95:
        x = margin
        while x < width - margin and rng.random() < 0.95:
            if book:
                word = rng.choice(_WORDS)
                pencil.text((x, y), word, fill=ink, font=font)
                x += round(pencil.textlength(word, font=font))
            else:
                glyphs = _word(rng, face)
                image.paste(ink, (x, y), glyphs)
                x += glyphs.width
            x += face.size // 2
        y += round(face.size * rng.choice((1.4, 1.8)))
    return image


def _word(rng: random.Random, face: Face) -> Image.Image:
    """One of a few hundred words, so that their masks stay cached."""
    seed = rng.randrange(200)
    return mask("".join(random.Random(seed).choices(LETTERS + "0123456789", k=1 + seed % 8)), face)


def _chart(rng: random.Random, width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), _pale(rng))
    pencil = ImageDraw.Draw(image)
    left, base, top = round(width * 0.15), round(height * 0.85), round(height * 0.12)
    pencil.line((left, top, left, base, width - 6, base), fill=(40, 40, 40))
    if rng.random() < 0.4:
        for k in range(1, 6):
            y = base - k * (base - top) // 6
            pencil.line((left, y, width - 6, y), fill=(215, 215, 215))
    count = rng.randint(3, 9)
    step = (width - left - 8) / count
    heights = [rng.randint(2, max(3, base - top)) for _ in range(count)]
    if rng.random() < 0.5:
        for i, h in enumerate(heights):
            pencil.rectangle((left + i * step + 2, base - h, left + (i + 0.7) * step, base), fill=_shade(rng))
    else:
        for _ in range(rng.randint(1, 3)):
            rng.shuffle(heights)
            line = [(left + (i + 0.5) * step, base - h) for i, h in enumerate(heights)]
            pencil.line(line, fill=_shade(rng), width=rng.choice((1, 2, 3)))
    face = Face("sans", rng.choice((6, 7, 9)))
    for i in range(count):
        image.paste((60, 60, 60), (round(left + (i + 0.2) * step), base + 4), _word(rng, face))
    image.paste((60, 60, 60), (left, 2), _word(rng, face))
    return image


def _shapes(rng: random.Random, width: int, height: int) -> Image.Image:
    """Circles, boxes and lines with a few labels: similar to a diagram, but no polygon with angles."""
    image = Image.new("RGB", (width, height), _pale(rng))
    pencil = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 6)):
        x, y = rng.randrange(width), rng.randrange(height)
        w, h = rng.randint(10, max(11, width // 2)), rng.randint(10, max(11, height // 2))
        box = (x - w // 2, y - h // 2, x + w // 2, y + h // 2)
        ink = (rng.randrange(100),) * 3
        kind = rng.randrange(3)
        if kind == 0:
            pencil.ellipse(box, outline=ink, fill=None if rng.random() < 0.7 else _shade(rng))
        elif kind == 1:
            pencil.rectangle(box, outline=ink, fill=None if rng.random() < 0.7 else _shade(rng))
        else:
            pencil.line(box, fill=ink, width=rng.choice((1, 2)))
    _scatter(rng, image, rng.randint(0, 5))
    return image


def _bare(rng: random.Random, width: int, height: int) -> Image.Image:
    """A polygon of three to eight corners with no labels, or with expressions instead of numbers."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    count = rng.randint(3, 8)
    middle, radius = (width / 2, height / 2), min(width, height) * rng.uniform(0.25, 0.4)
    turn = rng.uniform(0, math.tau)
    angles = sorted(turn + math.tau * (i + rng.uniform(-0.3, 0.3)) / count for i in range(count))
    points = [(middle[0] + radius * math.cos(a), middle[1] + radius * math.sin(a)) for a in angles]
    ink = (rng.randrange(100),) * 3
    ImageDraw.Draw(image).polygon(points, outline=ink, width=rng.choice((1, 2)))
    face = Face(rng.choice(("sans", "plotter")), rng.choice((9, 11, 13)), rng.random() < 0.3)
    style = rng.choice(("none", "letters", "expressions", "expressions"))
    for x, y in points if style != "none" else ():
        dx, dy = x - middle[0], y - middle[1]
        outside = round(x + dx * 0.12) - 5, round(y + dy * 0.12) - 5
        image.paste(ink, outside, mask(rng.choice(LETTERS), face))
        if style == "expressions":
            inside = round(x - dx * 0.3) - 12, round(y - dy * 0.3) - 5
            image.paste(ink, inside, mask(f"{rng.choice('XY')}{rng.randint(1, 90)}°", face))
    return image


def _scattered(rng: random.Random, width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), _pale(rng))
    _scatter(rng, image, rng.randint(1, 10))
    return image


def _scatter(rng: random.Random, image: Image.Image, count: int) -> None:
    for _ in range(count):
        face = Face(rng.choice(("sans", "plotter")), rng.choice((9, 11, 13, 18)), rng.random() < 0.3)
        label = rng.choice((str(rng.randrange(200)), rng.choice(LETTERS)))
        place = rng.randrange(max(1, image.width - 12)), rng.randrange(max(1, image.height - 12))
        image.paste((rng.randrange(100),) * 3, place, mask(label, face))


def _spoilt(rng: random.Random, width: int, height: int) -> Image.Image:
    """A diagram of the family that cannot be read: blurred, shrunk, cut, turned or inverted."""
    image = polygons.draw(polygons.generate(rng))
    kind = rng.randrange(5)
    if kind == 0:
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(3, 6)))
    if kind == 1:
        small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
        return small.resize(image.size, Image.Resampling.BICUBIC)
    if kind == 2:
        return image.crop((0, 0, image.width // 2, image.height // 2)).resize(image.size, Image.Resampling.BICUBIC)
    if kind == 3:
        return image.rotate(rng.choice((90, 180, 270)), expand=True)
    return Image.eval(image, lambda value: 255 - value)


_KINDS: tuple[Callable[[random.Random, int, int], Image.Image], ...] = (
    _noise, _blank, _gradient, _photo, _photo, _text, _text, _chart, _chart, _shapes, _bare, _bare, _scattered, _spoilt,
)  # fmt: skip
