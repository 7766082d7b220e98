"""Stock Qwen3-VL as its makers run it: their functions ran on the cases of `published/qwen3_vl.json`."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.servers import serve

from virc.backends.chatml import render
from virc.families import registry as families
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.session import Ask, Rejected, Reply, Session, Unit
from virc.systems import registry as systems
from virc.systems import speech
from virc.tools.registry import known

FACTS = json.loads((Path(__file__).parent / "published" / "qwen3_vl.json").read_bytes())
FAMILY = families.get("qwen3-vl")
PROTOCOL = families.protocol(FAMILY)
GOOD, BAD = "[5, 6, 7, 8]", "[9, 6, 7, 8]"
LOST = "refused here, shown there"
Case = Mapping[str, Any]


@cache
def picture(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def session(*sizes: Sequence[int], question: str = "QUESTION") -> Session:
    return Session(PROTOCOL, question, [picture(*size) for size in sizes], FAMILY.grid, tools=known())


def call(arguments: str) -> str:
    return f'<tool_call>\n{{"name": "image_zoom_in_tool", "arguments": {arguments}}}\n</tool_call>'


def outcome(case: Case) -> str:
    """How a crop compares with the published one."""
    talk = session(case["size"])
    taken = talk.feed(Reply(call(json.dumps({"bbox_2d": case["bbox_2d"], "label": "x", "img_idx": 0}))))
    if isinstance(taken, Rejected):
        assert taken.kind == "unit"
        return "far outside, or within 0 to 1: drawn again"
    if taken.results[0].error:
        if "text" in case:
            return "refused by both"
        box = case["box"]
        sides = box[2] - box[0], box[3] - box[1]
        assert max(sides) > 150 * min(sides) or min(sides) < 34, "it is long, or less than a pixel as shown"
        return "refused here"
    wanted = tuple(map(round, case["box"]))
    if talk.history.region(1) != wanted:
        assert min(wanted[2] - wanted[0], wanted[3] - wanted[1]) <= 1, "of a box of less than a pixel of the file"
        return "another pixel"
    if list(talk.images[1].size) == case["shown"]:
        return "the same"
    assert any(side != round(side) for side in case["box"]), "the published size counts fractions of pixels"
    return "another size"


@pytest.mark.integration
def test_crops_and_their_sizes_are_those_of_the_published_tool() -> None:
    assert Counter(map(outcome, FACTS["crops"])) == {
        "the same": 138,
        "another size": 24,
        "another pixel": 9,
        "refused by both": 11,
        "refused here": 8,
        "far outside, or within 0 to 1: drawn again": 10,
    }


@pytest.fixture(scope="module")
def words() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)


def rendered(ask: object, words: Any) -> list[int]:
    assert isinstance(ask, Ask)
    return render(ask.messages, [1] * len(ask.images), words, generate=True).ids


def test_a_whole_conversation_is_rendered_as_the_stock_template_renders_it(words: Any) -> None:
    """A thought with a call, two calls of which the second fails, and an answer; the system text stands before."""
    text = FACTS["rendered"]["tools, with system, whole conversation"]
    text = text.replace("SYSTEM TEXT\n\n", "").replace(GOOD, BAD)
    replies = re.findall(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>", text, re.DOTALL)
    talk = session((640, 480))
    for reply in replies[:-1]:
        assert isinstance(talk.feed(Reply(reply)), Unit)
    (error,) = [each.error for unit in talk.trace().units for each in unit.results if each.error]
    wanted = text.replace("Tool Execution Error E", error).removesuffix(f"{replies[-1]}<|im_end|>\n")
    assert rendered(talk.next(), words) == words.encode(wanted, add_special_tokens=False)


def told(case: Case) -> str:
    """What comes of a call with these arguments, which are JSON as the model wrote it."""
    count = sum("user" in name and "same path" not in name for name in case["images"])
    talk = session(*[(640, 480), (1000, 1000)][:count])
    if any("crop" in name for name in case["images"]):
        talk.feed(Reply(call('{"bbox_2d": [100, 100, 600, 600], "label": "x", "img_idx": 0}')))
    before = len(talk.images)
    taken = talk.feed(Reply(call(case["arguments"])))
    here = isinstance(taken, Unit) and not any(each.error for each in taken.results)
    if here and "image" in case:
        assert list(talk.images[before].size) == case["image"]
    return f"{'shown' if here else 'refused'} here, {'shown' if 'image' in case else 'refused'} there"


def test_arguments_are_read_as_the_published_tool_reads_them_or_more_leniently() -> None:
    found = {at: told(case) for at, case in enumerate(FACTS["arguments"])}
    assert Counter(found.values()) == {
        "shown here, shown there": 8,
        "refused here, refused there": 15,
        "shown here, refused there": 14,  # no label, no or another form of the index or box, brackets left out
        "refused here, shown there": 5,
    }
    lost = [json.loads(FACTS["arguments"][at]["arguments"])["img_idx"] for at in found if found[at].endswith(LOST)]
    assert Counter(lost) == {-1: 4, 1: 1}  # counted from the end, and a crop by its number


def test_the_notebook_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replies of the published example, from a server: the crops have the sizes that are printed there."""
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    example = FACTS["notebook"]
    Image.radial_gradient("L").resize(example["size"]).convert("RGB").save("hopinn.png")
    says = [f"{text}\n{call(each)}" for text, each in zip(example["says"], example["calls"], strict=False)]
    with serve([*says, example["says"][-1]], models=["Qwen/Qwen3-VL-8B-Instruct"], owned_by="vllm") as server:
        words = ("solve", "--endpoint", server.url, "--family", "qwen3-vl", "hopinn.png", example["question"])
        done = virc(*words, "--trace", "trace", "--json")
    assert done.code == 0, done.err
    assert done.json["answer"] == example["says"][-1]
    shown = [Image.open(file).size for file in sorted(Path("trace").rglob("*image-*.png"))]
    assert [list(size) for size in shown[1:]] == example["shown"]
    first, *_, last = server.chats()
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][0]["content"] == PROTOCOL.system
    assert [part.get("text") for part in first["messages"][1]["content"]] == [None, example["question"]]
    frame = [part.get("text") for part in last["messages"][-1]["content"]]
    assert frame == ["<tool_response>\n", None, "\n</tool_response>"]


def test_the_system_and_its_family_speak_alike() -> None:
    own = speech.worded_by(systems.get("qwen3-vl"))
    assert own
    assert msgspec.structs.replace(own, name="stock") == PROTOCOL
    assert families.protocol(families.get("qwen3.5")) == PROTOCOL


def test_rows_of_a_stock_model_are_taught_in_its_own_words() -> None:
    native = families.protocol(FAMILY, native=True)
    assert (native.system, len(native.schemas)) == ("", 1)
    assert families.taught(native) == families.taught(PROTOCOL)
    assert families.taught(native).system == PROTOCOL.system
