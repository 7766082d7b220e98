"""Pictures of 8 bits that would all be black are stretched, and no others."""

from PIL import Image
from support.tables import each_case

from virc.reasoning.pixels.depth import brightened


def row(mode: str, *values: int | tuple[int, ...]) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


@each_case(
    ("image", "levels", "shown"),
    [
        (row("L", 0, 1), (0, 1), [0, 255]), (row("L", 2, 3, 7), (2, 7), [0, 51, 255]),
        (row("L", 0, 5, 15), (0, 15), [0, 85, 255]),
        (row("L", 0, 5, 16), None, [0, 5, 16]),  # as many shades as a dark photograph has
        (row("L", 3, 3), None, [3, 3]), (row("L", 255, 0), None, [255, 0]),
        (row("RGB", (0, 1, 2), (4, 1, 2)), (0, 4), [(0, 64, 128), (255, 64, 128)]),  # one range for all bands
        (row("RGB", (0, 1, 2), (0, 1, 2)), None, [(0, 1, 2), (0, 1, 2)]),  # one colour
        (row("RGB", (0, 1, 2), (4, 1, 20)), None, [(0, 1, 2), (4, 1, 20)]),
    ],
)  # fmt: skip
def test_a_picture_of_few_shades_is_stretched(
    image: Image.Image, levels: tuple[int, int] | None, shown: list[object]
) -> None:
    assert brightened(image) == levels
    assert [image.getpixel((x, 0)) for x in range(image.width)] == shown
