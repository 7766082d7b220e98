"""A rollout of verl whose model writes Python has the ids, images and results of `virc solve`, several at once."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rl_engine import TINY, child
from scripted_backend import scripted, spelt
from test_rollout_ids import ANSWER, PICTURE, QUESTION, row

from virc.engines.verl.agent_ids import Ids, following, speech
from virc.models.chat_protocol import written
from virc.reasoning.images import open_image
from virc.reasoning.protocol import CodeSettings, own_protocol
from virc.reasoning.session import Ask, Reply, Session
from virc.sandbox import pool
from virc.solving.one import SolveConfig, solve
from virc.tools.registry import known, schemas

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


@pytest.mark.integration
def test_rollouts_that_run_code_keep_the_event_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several rollouts at once, as the agent loop of verl goes on with each in a thread.

    The code of each begins when all are there and the loop has gone on.
    """
    own, run, running = speech(str(TINY)), pool.Pool.run, threading.Barrier(7)

    def held(*given: Any) -> Any:
        running.wait(60)
        return run(*given)

    monkeypatch.setattr(pool.Pool, "run", held)

    async def rollout(number: int) -> Any:
        talk = Session(PROTOCOL, QUESTION, [open_image(PICTURE, "it")], own.grid, tools=known())
        ask = talk.next()
        assert isinstance(ask, Ask)
        ids = Ids(own.encode(ask), own, 8192)
        text = code(f"{number} * 2")
        sampled = own.tokenizer.encode(text, add_special_tokens=False)
        reply = ids.reply([*sampled, own.end])
        await asyncio.to_thread(following, talk, ids, Reply(text, reply.token_ids), own)
        return talk.trace().messages[-1].text

    async def together() -> list[str]:
        rollouts = [asyncio.create_task(rollout(number)) for number in range(6)]
        while running.n_waiting < 6:
            await asyncio.sleep(0.01)
        running.wait(60)
        return await asyncio.gather(*rollouts)

    try:
        assert asyncio.run(together()) == [str(number * 2) for number in range(6)]
    finally:
        pool.shared().close()
