"""What `tiny` trains on is what it meets at inference: pixels, ids and labels."""

import json
import random
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tiny import curriculum, places, sight
from tiny.architecture import IMAGE_MEAN, IMAGE_STD, build_tokenizer
from tiny.corpus import constants, words
from tiny.encode import IGNORE, collate, encode, patches
from virc.data.synth import worked
from virc.data.synth.families import polygons


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


def test_an_image_takes_one_id_for_each_merged_patch(tokenizer) -> None:  # type: ignore[no-untyped-def]
    example = curriculum.trajectory(random.Random(2))
    ids, _ = encode(example, tokenizer)
    pads = ids.count(tokenizer.convert_tokens_to_ids("<|image_pad|>"))
    assert pads == sum(image.width * image.height // 784 for image in example.images)


def test_digits_and_capitals_stay_single_tokens(tokenizer) -> None:  # type: ignore[no-untyped-def]
    for text in ("BLA 138 is 51", "Q is 107", "[14, 0, 98, 84]"):
        pieces = [tokenizer.decode([token]) for token in tokenizer.encode(text)]
        assert "".join(pieces) == text
        assert all(len(piece.strip()) == 1 for piece in pieces if any(c.isdigit() or c.isupper() for c in piece))


def test_the_constant_chat_protocol_is_one_token(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert len(tokenizer.encode(f"system\n{worked.PROTOCOL.system}")) == 1


def test_sight_labels_name_the_cell_a_character_stands_in() -> None:
    labels = sight.labels([("7", 30.0, 5.0), ("A", 3.0, 50.0), ("B", 99.0, 5.0)], 56, 56)
    found = [(token, *divmod(place, len(sight.CLASSES))) for token, place in np.argwhere(labels).tolist()]
    # Tokens run along rows of 28 px; in each, cells of 7 x 14 px do. What lies off the page has no label.
    assert [(token, cell, sight.CLASSES[code]) for token, cell, code in found] == [(1, 0, "7"), (2, 4, "A")]


def test_sight_marks_lie_inside_the_label_boxes() -> None:
    rng = random.Random(4)
    for _ in range(20):
        diagram = polygons.generate(rng)
        marks = sight.marks(diagram)
        assert len(marks) == sum(1 + len(corner.printed) for corner in diagram.corners)
        boxes = [box for corner in diagram.corners for box in (corner.letter_box, corner.value_box)]
        assert all(any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in boxes) for _, x, y in marks)


def test_turns_are_asked_in_the_order_of_the_trajectory_at_the_middle_of_its_crops() -> None:
    diagram = polygons.generate(random.Random(6), sides=(4,))
    cut = [
        json.loads(text.split("<tool_call>")[1].split("</tool_call>")[0])
        for text in worked.replies(polygons.solution(diagram))[:-1]
    ]
    boxes = [call["arguments"]["bbox_2d"] for call in cut]
    middles = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
    assert [(x, y) for _, x, y in sight.turns(diagram)][: len(middles)] == middles
    assert [turn for turn, _, _ in sight.turns(diagram)] == list(sight.TURNS)


def test_places_ask_every_image_token_for_its_own_row_and_column(tokenizer) -> None:  # type: ignore[no-untyped-def]
    import torch

    batch = collate([curriculum.list_corners(random.Random(seed)) for seed in (1, 2)], tokenizer)
    hidden = torch.zeros(*batch["input_ids"].shape, 80)
    grids = [(rows // 2, columns // 2) for _, rows, columns in batch["image_grid_thw"].tolist()]
    where = [(row, column) for rows, columns in grids for row in range(rows) for column in range(columns)]
    for at, (row, column) in zip(batch["mm_token_type_ids"].nonzero(), where, strict=True):
        hidden[tuple(at)][[row, 40 + column]] = 1.0
    classifier = places.head(80)
    torch.nn.init.zeros_(classifier.bias)
    torch.nn.init.zeros_(classifier.weight)
    with torch.no_grad():
        for place in range(36):
            classifier.weight[place, place] = classifier.weight[36 + place, 40 + place] = 10.0
    assert places.loss(classifier, hidden, batch) < 0.01
    assert places.loss(classifier, hidden.roll(1, dims=1), batch) > 1


def test_the_control_answers_at_once_and_the_refusal_refuses() -> None:
    control, refusal = curriculum.direct(random.Random(3)), curriculum.refusal(random.Random(3))
    assert [message.role for message in control.messages] == ["system", "user", "assistant"]
    assert refusal.messages[-1].text.endswith("<answer>unreadable</answer>")
    assert len(control.images) == len(refusal.images) == 1
