"""Environments of verifiers, written as its documentation shows, evaluated by `virc eval` beside the library itself.

Each interface has a version of the library, beside virc of this checkout, in an environment of its own.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli.test_packaging import uv
from support.entry import ROOT
from support.servers import MODEL, Body, image_bytes, serve
from support.solving import answer

from virc_extras.export.package import NEEDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURE = """
from base64 import b64encode
from io import BytesIO
from PIL import Image
def url(shade):
    Image.new("RGB", (56, 56), (shade, 0, 0)).save(file := BytesIO(), "PNG")
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
"""
BY_FUNCTION = '''
import verifiers as vf
from datasets import Dataset

def load_environment(num_examples: int = 3, **kwargs):
    """Single turn, as verifiers' own mmmu."""
    def prompt(at):
        image = {"type": "image_url", "image_url": {"url": url(at)}}
        parts = [{"type": "text", "text": f"problem {at}: how many?"}, image]
        return [{"role": "user", "content": parts}]
    rows = [{"prompt": prompt(at), "answer": str(at)} for at in range(num_examples)]
    parser = vf.Parser(extract_fn=vf.extract_boxed_answer)
    def correct(parser, completion, answer):
        print("scored")
        return 1.0 if parser.parse_answer(completion) == answer else 0.0
    def broken(completion):
        raise RuntimeError("away")
    return vf.SingleTurnEnv(dataset=Dataset.from_list(rows), parser=parser,
                            rubric=vf.Rubric(funcs=[correct, broken], weights=[2.0, 1.0], parser=parser))
'''
BY_TASKSET = """
import verifiers.v1 as vf

__all__ = ["Counting"]

class Data(vf.TaskData):
    answer: str

class Task(vf.Task[Data]):
    @vf.reward(weight=2.0)
    async def correct(self, trace: vf.Trace) -> float:
        print("scored")
        return float(vf.extract_boxed_answer(trace.last_reply) == self.data.answer)

    @vf.metric
    async def turns(self, trace: vf.Trace) -> float:
        return float(trace.num_turns)

class Config(vf.TasksetConfig):
    num_examples: int = 3

class Counting(vf.Taskset[Task, Config]):
    INFINITE = True

    def load(self):
        for at in range(self.config.num_examples):
            parts = [vf.TextContentPart(text=f"problem {at}: how many?"),
                     vf.ImageUrlContentPart(image_url=vf.ImageUrlSource(url=url(at)))]
            prompt = [vf.UserMessage(content=parts)]
            yield Task(Data(prompt=prompt, system_prompt="Box it.", answer=str(at)), self.config.task)
"""
WITH_TURNS = """
import verifiers as vf
from datasets import Dataset

class Env(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        return [{"role": "user", "content": "again"}]

def load_environment():
    rows = Dataset.from_list([{"question": "a", "answer": "b"}])
    return Env(dataset=rows, rubric=vf.Rubric(funcs=[lambda completion: 1.0]), max_turns=4)
"""
RAISING = BY_TASKSET.replace("        return float(", "        raise RuntimeError('away')\n        return float(", 1)
WITH_A_MACHINE = BY_TASKSET.replace("trace: vf.Trace)", "trace: vf.Trace, runtime: vf.Runtime)", 1)
WITH_A_CONVERSATION = (
    BY_TASKSET.replace('"Counting"', '"Counting", "Talk"')
    + '''
class Talk(vf.SingleAgentEnv):
    """Says more after a reply."""
'''
)
CASES = {
    "verifiers<0.4": (
        BY_FUNCTION, {"total": 2 / 3, "correct": 1 / 3, "broken": 0.0, "num_turns": 1.0},
        {"with_turns": (WITH_TURNS, "answers the model, turn by turn"), "broken": ("1 / 0", "division by zero")},
    ),
    NEEDS["verifiers"]: (
        BY_TASKSET, {"total": 2 / 3, "correct": 1 / 3, "turns": 1.0},
        {
            "with_a_machine": (WITH_A_MACHINE, "scores on the machine of the rollout"),
            "with_a_conversation": (WITH_A_CONVERSATION, "answers the model, turn by turn"),
            "raising": (RAISING, "the reward failed on 1 answers; the first: TaskError: task Task scoring: Runtime"),
            "broken": ("1 / 0", "division by zero"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("library", CASES)
def test_an_environment_of_verifiers_gives_its_own_rewards(library: str, tmp_path: Path) -> None:
    source, means, refused = CASES[library]
    venv = tmp_path / "venv"
    uv("venv", "--python", sys.executable, venv, folder=tmp_path)
    uv("pip", "install", "--python", venv, f"virc @ {ROOT.as_uri()}", library, folder=tmp_path)
    for name, text in {
        "counting": PICTURE + source,
        **{name: PICTURE + text for name, (text, _) in refused.items()},
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_", "VIRC_"))}
    env |= {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    def evaluated(name: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [venv / "bin" / "virc", "eval", name, "--environment", "--endpoint", server.url, "--model", MODEL]
        return subprocess.run([*command, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)

    with serve(said) as server:
        done = evaluated("counting", "--environment-args", '{"num_examples": 3}', "--limit", "3", "--json")
        assert done.returncode == 0, done.stderr
        found: Mapping[str, Any] = json.loads(done.stdout)["models"][0]["reward"]
        assert {name: each["mean"] for name, each in found.items()} == pytest.approx(means)
        assert "scored" in done.stderr
        assert ("away" in done.stderr) == ("broken" in means)
        contents = [body["messages"][-1]["content"] for body in server.chats()]
        assert all(image_bytes(part) for content in contents for part in content if part["type"] == "image_url")
        if "turns" in means:  # the taskset has no last problem
            assert "--limit 100" in evaluated("counting").stderr
        for name, (_, sentence) in refused.items():
            done = evaluated(name, "--limit", "1")
            assert sentence in done.stderr
            assert done.stderr.count("error:") == 1


def said(body: Body) -> str:
    """1 whatever is asked, so that the second problem is right."""
    assert re.search(r"problem \d: how many", json.dumps(body["messages"]))
    return answer("1")
