"""The number of an episode, as black and white blocks in a strip below its first image.

A tool is given images and no column of a row, and images lose their metadata when they are opened. The strip stays
readable when the image is made larger or smaller.
"""

import zlib

from PIL import Image

MOST = 2**24 - 1
"""The highest number of an episode."""

_BLOCKS = 40  # 24 bits of the number, and 16 of a checksum
_MIN_BLOCK = 8  # pixels
_PARTS = 16  # the strip is this part of the image's height, and at least a block high


def marked(image: Image.Image, number: int) -> Image.Image:
    """The first image of an episode with the strip of its number, 0 to `MOST`, below it.

    A narrow one is enlarged to whole multiples of its size.
    """
    times = -(-_BLOCKS * _MIN_BLOCK // image.width)
    image = image.convert("RGB").resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    strip = Image.new("L", (_BLOCKS, 1))
    strip.putdata([255 * (_bits(number) >> at & 1) for at in range(_BLOCKS)])
    height = max(_MIN_BLOCK, image.height // _PARTS)
    made = Image.new("RGB", (image.width, image.height + height))
    made.paste(image, (0, 0))
    made.paste(strip.resize((image.width, height), Image.Resampling.NEAREST), (0, image.height))
    return made


def number_in(image: Image.Image) -> int | None:
    row = round(image.height * (1 - 0.5 / (_PARTS + 1)))
    line = image.convert("L").crop((0, min(row, image.height - 1), image.width, min(row, image.height - 1) + 1))
    levels = [line.getpixel((int((at + 0.5) * image.width / _BLOCKS), 0)) for at in range(_BLOCKS)]
    bits = sum((isinstance(level, int) and level >= 128) << at for at, level in enumerate(levels))
    number = bits & MOST
    return number if _bits(number) == bits else None


def _bits(number: int) -> int:
    return number | (zlib.crc32(number.to_bytes(3, "little")) & 0xFFFF) << 24
