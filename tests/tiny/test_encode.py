"""What `tiny` trains on is what it meets at inference: pixels, ids and labels."""

import random
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tiny import curriculum, sight
from tiny.architecture import IMAGE_MEAN, IMAGE_STD, build_tokenizer
from tiny.corpus import constants, words
from tiny.encode import IGNORE, encode, patches
from virc.data.synth import worked


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    return build_tokenizer(constants(worked.PROTOCOL), words(count=300))


def test_patches_come_by_blocks_of_four_and_each_holds_its_pixels_twice() -> None:
    """Blocks from left to right and from the top; within one its two rows of two; colour before time before place."""
    image = Image.new("RGB", (56, 56))
    for row, column in product(range(4), repeat=2):
        image.paste((10 * row, 10 * column, 200), (14 * column, 14 * row, 14 * column + 14, 14 * row + 14))
    image.putpixel((1, 0), (255, 0, 200))
    found, grid = patches(image)
    assert (grid, found.shape) == ((1, 4, 4), (16, 3 * 2 * 14 * 14))
    pixels = found.reshape(16, 3, 2, 14, 14) * np.reshape(IMAGE_STD, (3, 1, 1, 1))
    pixels = np.rint((pixels + np.reshape(IMAGE_MEAN, (3, 1, 1, 1))) * 255)
    assert (pixels[0, 0, :, 0, :3] == [[0, 255, 0], [0, 255, 0]]).all()
    rows, columns = [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3], [0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3]
    last = pixels[:, :, :, -1, -1]
    assert last.tolist() == [
        [[10 * row] * 2, [10 * column] * 2, [200] * 2] for row, column in zip(rows, columns, strict=True)
    ]


@pytest.mark.integration
@pytest.mark.parametrize("size", [(224, 196), (84, 84), (28, 252)])
def test_patches_equal_those_of_the_image_processor(size: tuple[int, int]) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    image = Image.frombytes("RGB", size, random.Random(0).randbytes(size[0] * size[1] * 3))
    theirs = Qwen2VLImageProcessorPil(
        image_mean=IMAGE_MEAN, image_std=IMAGE_STD, patch_size=14, merge_size=2, temporal_patch_size=2, do_resize=False
    )(images=[image], return_tensors="np")
    ours, grid = patches(image)
    assert tuple(theirs["image_grid_thw"][0]) == grid
    np.testing.assert_allclose(ours, theirs["pixel_values"], atol=1e-5)


@pytest.mark.parametrize("task", [curriculum.trajectory, curriculum.refusal, curriculum.direct, curriculum.read_crop])
def test_only_assistant_turns_are_learnt_and_all_of_them(task, tokenizer) -> None:  # type: ignore[no-untyped-def]
    example = task(random.Random(1))
    ids, labels = encode(example, tokenizer)
    learnt = tokenizer.decode([token for token, label in zip(ids, labels, strict=True) if label != IGNORE])
    turns = [message.text for message in example.messages if message.role == "assistant"]
    assert learnt == "".join(f"{turn}<|im_end|>" for turn in turns)
    assert len(ids) == len(labels)


def test_sight_labels_name_the_cell_a_character_stands_in() -> None:
    labels = sight.labels([("7", 30.0, 5.0), ("A", 3.0, 50.0), ("B", 99.0, 5.0)], 56, 56)
    found = [(token, *divmod(place, len(sight.CLASSES))) for token, place in np.argwhere(labels).tolist()]
    # Tokens run along rows of 28 px; in each, cells of 7 x 14 px do. What lies off the page has no label.
    assert [(token, cell, sight.CLASSES[code]) for token, cell, code in found] == [(1, 0, "7"), (2, 4, "A")]
