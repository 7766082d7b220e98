"""Augmentations of self-supervised learning, with SSL4RL's order and ranges."""

import math
from random import Random

import msgspec
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from virc.reasoning.calls import Box, Size

RATIOS = (3 / 4, 4 / 3)
"""Least and largest width of a crop over its height."""
JITTER, HUE = 0.8, 0.2
"""The likelihood and the largest change of brightness, contrast and saturation; the largest turn of the hue."""
BLUR = (0.1, 2.0)
"""Least and largest radius, px."""
_TRIES = 10


class Augmentation(msgspec.Struct, frozen=True):
    """Least and largest share of the area that a crop keeps, and how likely each further change is."""

    area: tuple[float, float]
    grey: float
    blur: float
    solarize: float
    equalize: float
    flip: float


# PKU-ML/SSL4RL@57c830a, build_benchmarks/augcfg.yaml and augcfg_strong.yaml
AUGMENTATIONS = {
    "weak": Augmentation((0.08, 1.0), grey=0.2, blur=0.5, solarize=0.0, equalize=0.0, flip=0.5),
    "strong": Augmentation((0.08, 0.3), grey=0.8, blur=0.8, solarize=0.8, equalize=0.8, flip=0.8),
}


def cropped(picture: Image.Image, kind: Augmentation, side: int, random: Random) -> Image.Image:
    """A crop, stretched to `side` x `side` px, with other colours, and mirrored or not."""
    crop = picture.crop(crop_box(picture.size, kind.area, random)).resize((side, side), Image.Resampling.BICUBIC)
    changed = recoloured(crop, kind, random)
    return ImageOps.mirror(changed) if random.random() < kind.flip else changed


def crop_box(size: Size, area: tuple[float, float], random: Random) -> Box:
    """A box in px of a drawn area and shape; where none of `_TRIES` fits, the largest middle part in `RATIOS`."""
    width, height = size
    for _ in range(_TRIES):
        pixels, ratio = width * height * random.uniform(*area), math.exp(random.uniform(*map(math.log, RATIOS)))
        across, down = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = random.randint(0, width - across), random.randint(0, height - down)
            return left, top, left + across, top + down
    across, down = min(width, round(height * RATIOS[1])), min(height, round(width / RATIOS[0]))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def recoloured(picture: Image.Image, kind: Augmentation, random: Random) -> Image.Image:
    """The picture with other colours, blurred, solarized and equalized, each or not; pixels keep their places."""
    if random.random() < JITTER:
        enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        factors, turn = [random.uniform(1 - JITTER, 1 + JITTER) for _ in enhancers], random.uniform(-HUE, HUE)
        for at in random.sample(range(4), 4):
            picture = hue_turned(picture, turn) if at == 3 else enhancers[at](picture).enhance(factors[at])
    if random.random() < kind.grey:
        picture = picture.convert("L").convert("RGB")
    if random.random() < kind.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR)))
    if random.random() < kind.solarize:
        picture = ImageOps.solarize(picture)
    return ImageOps.equalize(picture) if random.random() < kind.equalize else picture


def hue_turned(picture: Image.Image, turn: float) -> Image.Image:
    """The picture with its hues turned by a share of the circle, -0.5 to 0.5."""
    hue, *rest = picture.convert("HSV").split()
    turned = hue.point([(each + int(turn * 255)) % 256 for each in range(256)])
    return Image.merge("HSV", (turned, *rest)).convert("RGB")
