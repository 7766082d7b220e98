"""What Video-CoM reads on its clips: the number of the segment and, below it, that of the frame, both from 1.

Source: mbzuai-oryx/Video-CoM@b58b6ce, train/data_utils.py, overlay_segment_frame_labels_all_frames. What differs: the
font, and that clips keep the times of their frames where their rate varies.
"""

from PIL import Image

from virc_zoo.painted_frames import Paint, written

_USUAL, _SHORTEST, _LONGEST = 10, 10, 30  # segments, and seconds of one
_CAPITAL = 20  # px: the height of a capital letter there, whatever the clip's


def segments_of(seconds: float) -> int:
    """How many segments a clip has: 10, or fewer or more until each lasts 10 to 30 s."""
    count = _USUAL
    while seconds / count < _SHORTEST and count > 1:
        count -= 1
    while seconds / count > _LONGEST:
        count += 1
    return count


def painter(count: int, seconds: float) -> Paint:
    """What paints the frames of a clip of `count` frames."""
    segments = segments_of(seconds)
    each = max(1, count // segments)

    def paint(image: Image.Image, number: int, _: float) -> None:
        segment = min((number - 1) // each + 1, segments)
        written(image, f"Segment-{segment}\nFrame-{number}", (10, 10), _CAPITAL)

    return paint
