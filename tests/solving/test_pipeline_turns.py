"""What a role is sent in the conversation of an earlier step, and with pictures inside the prompt."""

from typing import Any

import pytest
from PIL import Image

from virc.backends.interface import OnText, Sampling
from virc.config import yaml
from virc.core.errors import ConfigError
from virc.core.timeouts import Deadline
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Opened
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply
from virc.solving.pipelines.files import read
from virc.solving.pipelines.roles import OpenRole, speaker
from virc.solving.pipelines.run import run
from virc.solving.pipelines.values import Value

REFLECT = """
roles:
  mind: {system: Be brief.}
  critic: {}
steps:
  - {name: first, ask: mind, images: true, prompt: "Look: {images} {question}"}
  - {name: fault, ask: critic, images: true, prompt: "{first}"}
  - {name: second, ask: mind, after: first, prompt: "Fault: {fault}"}
  - {name: third, ask: mind, after: second, images: true, prompt: "Again."}
answer: third
"""
ROUNDS = """
roles:
  mind: {}
steps:
  - repeat:
      - {name: talk, ask: mind, after: talk, prompt: "{question}"}
    until: {value: talk, matches: c}
    rounds: 5
answer: talk
"""


class Scripted:
    model = "scripted"

    def __init__(self, *texts: str) -> None:
        self.texts, self.asks = list(texts), list[Ask]()
        self.grid = Grid(14, 2)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        self.asks.append(ask)
        return Reply(self.texts.pop(0))

    def close(self) -> None: ...


def asked(text: str, **replies: tuple[str, ...]) -> dict[str, list[Ask]]:
    """What each role was sent."""
    pipeline = read(yaml.parse(text, "test"), "p.yaml")
    backends = {name: Scripted(*each) for name, each in replies.items()}
    speakers = {
        name: speaker(
            OpenRole(pipeline.roles[name], Opened(name, each, ChatProtocol(own_protocol(())))),
            Deadline(None), 16, lambda: None,
        )
        for name, each in backends.items()
    }  # fmt: skip
    images = [OpenedImage(Image.new("RGB", (56, 28))), OpenedImage(Image.new("RGB", (28, 56)))]
    run(pipeline, "Which?", speakers, lambda *_: Value(), images=images)
    return {name: each.asks for name, each in backends.items()}


def test_a_conversation_goes_on_behind_its_reply() -> None:
    sent = asked(REFLECT, mind=("a", "b", "c"), critic=("wrong",))
    messages = sent["mind"][2].messages
    roles = ["system", *["user", "assistant"] * 2, "user"]
    assert [message.role for message in messages] == roles
    texts = ["Be brief.", "Look:  Which?", "a", "Fault: wrong", "b", "Again."]
    assert [message.text for message in messages] == texts
    assert [message.images for message in messages] == [(), (0, 1), (), (), (), (2, 3)]
    assert len(sent["mind"][2].images) == 4


def test_pictures_stand_where_the_prompt_names_them() -> None:
    sent = asked(REFLECT, mind=("a", "b", "c"), critic=("wrong",))
    assert list(sent["mind"][0].messages[1].parts()) == ["Look: ", 0, 1, " Which?"]
    assert list(sent["critic"][0].messages[0].parts()) == [0, 1, "a"]


def test_a_loop_goes_on_with_its_own_conversation() -> None:
    sent = asked(ROUNDS, mind=("a", "b", "c"))
    assert [[message.text for message in ask.messages] for ask in sent["mind"]] == [
        ["Which?"],
        ["Which?", "a", "Which?"],
        ["Which?", "a", "Which?", "b", "Which?"],
    ]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"ask": "mind", "after": "frist", "prompt": "x"}, "after 'frist', which asks no role or another"),
        ({"ask": "critic", "after": "first", "prompt": "x"}, "after 'first', which asks no role or another"),
        ({"ask": "mind", "after": "question", "prompt": "x"}, "after 'question', which asks no role or another"),
        ({"text": "x", "after": "first"}, "after 'first', which asks no role or another"),
        ({"ask": "mind", "after": "first", "best_of": "first", "prompt": "{candidate}"}, "do not go together"),
    ],
)
def test_a_conversation_that_cannot_go_on_is_a_mistake(step: dict[str, Any], words: str) -> None:
    content: Any = yaml.parse(REFLECT, "test")
    with pytest.raises(ConfigError) as caught:
        read({**content, "steps": [content["steps"][0], {"name": "last", **step}], "answer": "first"}, "p.yaml")
    assert words in caught.value.message
