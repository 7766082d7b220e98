"""Names of control tokens in a question reach no server as tokens."""

import json

from asks import ask
from support.servers import serve
from support.tables import each_case

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.control_tokens import as_text
from virc.backends.interface import Sampling
from virc.reasoning.bodies import Called
from virc.reasoning.lenient import Sent
from virc.reasoning.session import Ask, Message

TOKENS = [
    "<|image_pad|>", "<|vision_start|>", "<|im_end|>", "<|endoftext|>", "<start_of_image>", "<image_soft_token>",
    "<IMG_CONTEXT>", "<|image_1|>", "<｜end▁of▁sentence｜>", "<fake_token_around_image>", "[IMG]", "[INST]",
    "<|video_pad|>", "<|image>", "<end_of_utterance>", "<|media_pad|>", "<image>", "<__media__>",
]  # fmt: skip


@each_case("token", TOKENS)
def test_a_token_in_a_question_is_text_to_any_endpoint(token: str) -> None:
    question = f"What does {token} mean in {token}?"
    with serve(["A pad."]) as server:
        OpenAIBackend(server.url).reply(ask(question), Sampling())
        (sent,) = server.chats()
    texts = json.dumps([message["content"] for message in sent["messages"]], ensure_ascii=False)
    assert token not in texts
    assert token[:1] + "\u200b" + token[1:] in texts


@each_case(
    "text", ["a < b | c > d", "<think>so</think>", "<images>", "<b>[1]</b>", "x <| y", "if a<|b and c|>d", "[I] <img/>"]
)
def test_other_signs_stay(text: str) -> None:
    assert as_text(Ask((Message("user", text),), ())).messages[0].text == text


def test_marks_of_the_model_stay_and_places_of_pictures_move() -> None:
    said = "<|begin_of_box|>4<|end_of_box|>"
    before = "see <|image_pad|> "
    messages = (Message("user", f"{before}here", (0,), at=(len(before),)), Message("assistant", said))
    called = {1: Sent("", "", (Called("crop_image", {}),), ("<|im_end|>",))}
    broken = as_text(Ask(messages, (), called=called))
    assert broken.messages[1].text == said
    assert broken.messages[0].text[broken.messages[0].at[0] :] == "here"
    assert broken.called[1].results == ("<\u200b|im_end|>",)
    assert as_text(Ask(messages, ()), of_model=True).messages[1].text == said.replace("<", "<\u200b")
