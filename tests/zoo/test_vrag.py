"""VRAG-RL against its published agent, which was run on the boxes and replies of `cases/vrag-rl/program.json`: what it
sends, and what it cuts out of the file of the page that it found.
"""

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from PIL import Image
from support import zoo

from virc.models.chat_protocol import of_system
from virc.reasoning.session import Ask, Rejected, Reply, Session
from virc.systems import registry as systems
from virc.systems import texts
from virc.tools.registry import known
from virc_extras.search import tool as search

PUBLISHED = zoo.program("vrag-rl")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_STEP = 14  # px: half a step of the grid of 28, onto which pages come there before boxes are counted in them


@pytest.fixture(scope="module", autouse=True)
def pages(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A grey page of each size, found by the word `pageWIDTHxHEIGHT`."""
    folder = tmp_path_factory.mktemp("pages")
    for width, height in {tuple(case[0]) for case in PUBLISHED["boxes"]}:
        Image.new("RGB", (width, height), "grey").save(folder / f"{width}.png")
        (folder / f"{width}.txt").write_text(f"page{width}x{height}")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(search.PAGES, str(folder))
        yield


def talk(*replies: str) -> Session:
    """A session after these replies."""
    session = Session(of_system(systems.get("vrag-rl")), PUBLISHED["question"], [], tools=known(), max_turns=5)
    for reply in replies:
        assert not isinstance(session.feed(Reply(reply)), Rejected), reply
    return session


def found(size: Sequence[int]) -> str:
    return f"<search>page{size[0]}x{size[1]}</search>"


def test_a_conversation_is_that_of_the_published_agent_letter_by_letter() -> None:
    session = talk(*(reply.replace("word0", "page560x420") for reply in PUBLISHED["replies"]))
    told = session.next()
    assert not isinstance(told, Ask)
    turns = Ask(told.trace.messages[1:], ()).turns()  # the template of Qwen2.5-VL puts the system message before them
    rendered = "\n".join(
        f"<|im_start|>{turn.role}\n{''.join(part if isinstance(part, str) else IMAGE for part in turn.parts)}<|im_end|>"
        for turn in turns
    ).replace("page560x420", "word0")
    if not texts.is_own_wording(systems.get("vrag-rl").file.parent):
        assert sha256(rendered.encode()).hexdigest() == PUBLISHED["conversation_sha256"]
    assert told.trace.answer == "12 tons"


def test_boxes_are_cut_out_of_the_page_as_published() -> None:
    count: Counter[str] = Counter()
    for size, there, box, region in PUBLISHED["boxes"]:
        session = talk(found(size), f"<bbox>{json.dumps(box)}</bbox>")
        shown = session.history.sizes[0]
        assert all(abs(one - other) <= _STEP for one, other in zip(shown, there, strict=True))
        cut = list(session.history.places[1].box) if len(session.images) == 2 else None
        if cut == region:
            count["the same"] += 1
            continue
        assert tuple(there) != shown, box  # it is the same wherever the page is on the grid
        assert cut, box
        assert region, box
        near = max(abs(one - other) / side for one, other, side in zip(cut, region, (*size, *size), strict=True))
        count["near"] += near <= _STEP / min(there)
    assert count == {"the same": 28, "near": 20}
