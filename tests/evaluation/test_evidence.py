"""Whether a model looked where the answer is seen: shares by hand, and one evaluation on a scripted endpoint."""

import pytest

from virc.reasoning.trace import ImageRecord
from virc.solving.evidence import shown

SIZE = (400, 200)  # of the file; it is shown at half of it
INPUT = ImageRecord(0, 200, 100, "image-0.png")
BOX = (0.0, 0.0, 100.0, 100.0)


def made(
    index: int, parent: int, box: tuple[int, int, int, int] | None, width: int = 56, height: int = 56
) -> ImageRecord:
    return ImageRecord(index, width, height, f"image-{index}.png", parent, box)


@pytest.mark.parametrize(
    ("images", "share"),
    [
        ([], 0),
        # 100 x 100 px of the file
        ([made(1, 0, (0, 0, 50, 50))], 1),
        ([made(1, 0, (25, 0, 75, 50))], 0.5),
        ([made(1, 0, (100, 50, 200, 100))], 0),
        ([made(1, 0, (0, 25, 50, 50))], 0.5),
        # the crop that shows most counts; two halves are not one whole
        ([made(1, 0, (0, 0, 25, 50)), made(2, 0, (25, 0, 50, 50))], 0.5),
        ([made(1, 0, (100, 50, 200, 100)), made(2, 0, (0, 0, 50, 40))], 0.8),
        # the right half of the left half: 100 to 200 px, and the left half of it
        ([made(1, 0, (0, 0, 100, 100), 100, 100), made(2, 1, (0, 0, 50, 100))], 1),
        ([made(1, 0, (25, 0, 75, 50), 50, 50), made(2, 1, (0, 0, 25, 50))], 0.5),
        # what is shown again or larger is the picture as a whole, or the crop that it was
        ([made(1, 0, None, 400, 200)], 0),
        ([made(1, 0, (0, 0, 50, 50), 50, 50), made(2, 1, None, 100, 100)], 1),
        ([made(1, 0, None, 400, 200), made(2, 1, (0, 0, 50, 100))], 0.5),
        # a crop of nearly all of the picture shows no more than that
        ([made(1, 0, (0, 0, 160, 90))], 0),
        ([made(1, 0, (0, 0, 158, 79))], 0),
        ([made(1, 0, (0, 0, 140, 71))], 1),
        ([made(1, 0, (0, 0, 160, 90)), made(2, 0, (150, 60, 200, 100))], 0),
        # the same in parts, unless they are on the way to a smaller one
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (100, 0, 200, 50))], 0),
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (100, 0, 200, 49))], 1),
        ([made(1, 0, (0, 0, 100, 50)), made(2, 0, (20, 0, 120, 50))], 1),
        ([made(1, 0, (0, 0, 100, 100)), made(2, 0, (100, 0, 200, 100)), made(3, 0, (0, 0, 60, 50))], 1),
        # another input, and a crop of that
        ([ImageRecord(1, 200, 100, "image-1.png"), made(2, 1, (0, 0, 50, 50))], 0),
    ],
)
def test_the_share_of_a_box_that_a_crop_shows(images: list[ImageRecord], share: float) -> None:
    assert shown([BOX], SIZE, [INPUT, *images]) == pytest.approx([share])
