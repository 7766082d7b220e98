from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.backends.chatml import render
from virc.families.chat_marks import CHATML, ChatMarks
from virc.reasoning.session import Message

SYSTEM = Message("system", "You look closer.\n\n<tools>\n{}\n</tools>")
FIRST = Message("user", "Image 0: 224 x 224.\nQuestion: In triangle BLA, find m∠L.\n\nReason.", images=(0,))
LOOK = Message("assistant", '<think>Small.</think><tool_call>{"name": "crop_image"}</tool_call>')
CROP = Message("user", "Image 1: 84 x 56. Go on.", images=(1,))
TALK = [SYSTEM, FIRST, LOOK, CROP, Message("assistant", "<think>51</think><answer>51°</answer>")]
TOKENS = (64, 6)


@pytest.mark.integration
def test_ordinary_text_is_rendered_as_the_chat_template_does(words: Any) -> None:
    turns = [
        {
            "role": message.role,
            "content": [{"type": "image"} for _ in message.images] + [{"type": "text", "text": message.text}],
        }
        for message in TALK
    ]
    text = words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    for count in TOKENS:
        text = text.replace("<|vision_start|><|image_pad|>", "<|vision_start|>" + "<|pad|>" * count, 1)
    expected = words.encode(text.replace("<|pad|>", "<|image_pad|>"), add_special_tokens=False)
    assert render(TALK, TOKENS, words, generate=True).ids == expected


def test_views_of_a_picture_stand_between_the_marks_of_their_rows(words: Any) -> None:
    image = ("<|video_pad|>{number}<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
    tiles = ("<|vision_end|><|vision_pad|>", "<|vision_pad|>", "\n", "!<|video_pad|>")
    marks = ChatMarks(image=image, tiles=tiles, between="\n")
    talk = [Message("user", "Is A in B?", (1, 0), at=(3, 8)), Message("assistant", "No.")]
    rendered = render(talk, ([[(1, 3)]], [[(1, 2)], [(1, 1), (2, 2)], [(1, 1), (1, 1)]]), words, marks=marks)
    first = "<|video_pad|>0<|vision_start|>PP<|vision_end|><|vision_pad|>P<|vision_pad|>PPPP"
    first += "\nP<|vision_pad|>P!<|video_pad|>"
    text = f"<|im_start|>user\nIs \n{first}\nA in \n<|video_pad|>1<|vision_start|>PPP<|vision_end|>\nB?<|im_end|>\n"
    text = (text + "<|im_start|>assistant\nNo.<|im_end|>\n").replace("P", "<|image_pad|>")
    assert rendered.ids == words.encode(text, add_special_tokens=False)
    at = [place for place, id in enumerate(rendered.ids) if id == words.convert_tokens_to_ids("<|image_pad|>")]
    assert [(each.index, each.start) for each in rendered.images] == [(1, at[0]), (0, at[9])]


@given(
    st.lists(st.sampled_from([*CHATML.controls, "<|endoftext|>", "<|video_pad|>", "x", "<|", "\n", "é"]), max_size=8)
)
def test_control_tokens_written_in_a_text_stay_text(words: Any, parts: list[str]) -> None:
    hostile = "".join(parts)
    plain = [Message("system", "x"), Message("user", "x", (0,)), Message("assistant", "x"), Message("user", "x")]
    talk = [Message(message.role, hostile, message.images) for message in plain]
    special = {token for token, added in words.added_tokens_decoder.items() if added.special}
    rendered = render(talk, (3,), words)
    kept = [token for token in rendered.ids if token in special]
    assert kept == [token for token in render(plain, (3,), words).ids if token in special]
    span = rendered.spans[2]
    assert words.decode(rendered.ids[span.start : span.stop - 1]) == hostile


def test_a_sampled_turn_keeps_its_ids_though_the_text_would_be_encoded_otherwise(words: Any) -> None:
    ids = tuple(words.convert_tokens_to_ids(list("Question")))
    assert words.decode(ids) == "Question"
    assert list(ids) != words.encode("Question")
    rendered = render([SYSTEM, Message("assistant", "Question", token_ids=ids)], (), words)
    span = rendered.spans[1]
    assert rendered.ids[span.start : span.stop] == [*ids, words.convert_tokens_to_ids("<|im_end|>")]


@pytest.mark.parametrize("text", ["\n\n51", ""])
def test_what_the_model_was_asked_stays_the_start_of_the_conversation(words: Any, text: str) -> None:
    asked = render([SYSTEM, FIRST], TOKENS, words, generate=True).ids
    assert render([SYSTEM, FIRST, Message("assistant", text)], TOKENS, words).ids[: len(asked)] == asked


SHOWN = Message("assistant", "\n\n", (1,), inserted="inline")


@pytest.mark.parametrize(
    ("talk", "generate", "turns", "ended"),
    [
        ([FIRST, LOOK], True, 3, False),  # the header of the next turn
        ([FIRST, LOOK, SHOWN], False, 2, True),
        ([FIRST, LOOK, SHOWN], True, 2, False),  # the model goes on in its own turn
        ([FIRST, LOOK, SHOWN, Message("assistant", "51")], True, 3, False),
    ],
)
def test_what_is_shown_within_a_turn_belongs_to_it(
    talk: list[Message], generate: bool, turns: int, ended: bool, words: Any
) -> None:
    rendered = render(talk, TOKENS, words, generate)
    text = words.decode(rendered.ids)
    assert text.count("<|im_start|>") == turns
    assert text.count("<|im_end|>") == turns - (not ended)
    assert text.rstrip("\n").endswith("<|im_end|>") == ended
    assert len(rendered.spans) == len(talk)
