"""A rollout of verl whose model writes Python has the ids, images and results of `virc solve`, several at once."""

import json
from pathlib import Path

import msgspec
import pytest
from rl_engine import TINY, child
from scripted_backend import scripted, spelt
from test_rollout_ids import ANSWER, PICTURE, QUESTION, row

from virc.models.chat_protocol import written
from virc.reasoning.images import open_image
from virc.reasoning.protocol import CodeSettings, own_protocol
from virc.solving.one import SolveConfig, solve
from virc.tools.registry import schemas

PROTOCOL = msgspec.structs.replace(own_protocol(schemas(("python", "crop_image"))), code=CodeSettings(seconds=20))


def code(text: str) -> str:
    call = json.dumps({"name": "python", "arguments": {"code": text}})
    return f"<think>I compute.</think>\n<tool_call>\n{call}\n</tool_call>"


REPLIES = (
    code("x = image_0.size\nprint(x)\nimage_0.crop((10, 10, 90, 70))"),
    code("import random\nprint(x, image_1.size, random.random())\n1 / 0"),
    code("import os\nos._exit(1)"),
    code("x"),
    ANSWER,
)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_rollout_with_code_has_the_ids_of_solve(tmp_path: Path) -> None:
    backend = scripted(TINY)
    ids = [spelt(backend, reply) for reply in REPLIES]
    backend.script(ids)
    solved = solve(SolveConfig(tries=1), backend, PROTOCOL, [open_image(PICTURE, "it")], QUESTION)
    assert solved.answer == "42"
    (tmp_path / "picture.png").write_bytes(PICTURE.read_bytes())
    (tmp_path / "code.json").write_bytes(written(PROTOCOL))
    end = backend._tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompt = [{"role": "system", "content": ""}, {"role": "user", "content": f"<image>{QUESTION}"}]
    case = {
        "room": 8192, "row": row(QUESTION, [tmp_path / "picture.png"], prompt),
        "replies": [[*each, end] for each in ids],
        "loop": {"protocol": str(tmp_path / "code.json"), "folder": str(tmp_path)},
    }  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps({"code": case}))
    done = child("loop_child.py", tmp_path / "cases.json", TINY)["code"]
    assert [each["ids"] for each in done["asked"]] == backend.fed
    assert [[tuple(size) for size in each["images"]] for each in done["asked"]] == backend.sizes
    assert len(backend.sizes[-1]) == 2
    assert done["extra"]["ended"] == "answer"
    texts = [message["text"] for message in json.loads(done["extra"]["rollout"])["messages"]]
    assert any("ZeroDivisionError" in text for text in texts)
    assert any("Its state is lost." in text for text in texts)
