"""A step of the real verl with two calls a turn, errors told to the model, texts and images of tools, a server, and
the environment of docs/rewards-and-tools.md, whose episodes the problems' pictures begin.

`tiny` is taught such turns before, in LLaMA-Factory, by rows of the same custom system.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from docs.code_blocks import blocks
from PIL import Image
from rl_engine import child
from support import workspaces
from support.engine_python import register_with
from support.loopback import Connection, Loopback

from virc.data.rows.record import content_of
from virc.models.chat_protocol import of_system
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session, Unit
from virc.stepped import marks
from virc.systems import registry as systems
from virc.tools import registry as tools

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

TAUGHT, BATCH, SAMPLES = 240, 2, 8
SFT = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 4, "micro_batch_size_per_device": 4,
       "warmup_ratio": 0, "cutoff_len": 1024, "learning_rate": 2e-3}  # fmt: skip
RL = {"steps": 1, "save_steps": 1, "train_batch_size": BATCH, "ppo_mini_batch_size": BATCH, "n": SAMPLES,
      "micro_batch_size_per_device": 4, "rollouts": 1, "prompt_length": 1024, "response_length": 512,
      "max_turns": 3, "temperature": 0.8}  # fmt: skip
SYSTEM = """
tools: [./read_text.py, ./both_halves.py, ./find.yaml, ./take_away.py]
chat_protocol:
  system: Look.
  first: "{images} {question}"
  after_image: "{image}"
  errors: show
  after_error: "Error: {error}"
  after_text: "Tool: {text}"
  grammar:
    calls:
    - open: <tool_call>
      close: </tool_call>
      names: {crop_image: read_text, display_image: both_halves, scale_image: find}
    most_calls: 2
"""
TOOL = '''"""`read_text`: what is written in a box."""

NAME = "read_text"
TEMPLATE = "after_image"
_KEYS = {"bbox_2d": {"type": "array"}, "image_index": {"type": "integer"}}
SCHEMA = {"type": "function", "function": {"name": NAME, "parameters": {"type": "object", "properties": _KEYS}}}


def apply(call, source):
    """A text."""
    return "The box is empty."
'''
HALVES = '''"""`both_halves`: the left and the right half of a box."""

from virc.reasoning.calls import Result

NAME = "both_halves"
TEMPLATE = "after_image"
_KEYS = {"bbox_2d": {"type": "array"}, "image_index": {"type": "integer"}}
SCHEMA = {"type": "function", "function": {"name": NAME, "parameters": {"type": "object", "properties": _KEYS}}}


def apply(call, source):
    """A text and two images."""
    part = source.crop(call.box)
    left, right = (0, 0, part.width // 2, part.height), (part.width // 2, 0, part.width, part.height)
    return Result("Left, then right.", [part.crop(left), part.crop(right)])
'''
FIND = """
description: Find objects.
parameters:
  type: object
  properties: {{bbox_2d: {{type: array}}, image_index: {{type: integer}}}}
http: {{url: "{address}/find", result: {{text: "Found {{count}}."}}}}
"""
REWARD = '''"""A point for each call that was carried out."""

TERMS = ("carried",)


def carried(sample, means):
    """How many calls up to this reply have no fault."""
    return float(sum(not each.fault for each in sample.calls))


def total(t):
    return t.carried


def whole(units, t):
    return units[-1]
'''
Written = tuple[str, Mapping[str, object]]
READ: Written = ("crop_image", {"bbox_2d": [0, 0, 84, 84], "image_index": 0})
FAR: Written = ("crop_image", {"bbox_2d": [0, 0, 84, 84], "image_index": 9})
HALVE: Written = ("display_image", {"bbox_2d": [0, 0, 84, 84], "image_index": 0})
FIND_ALL: Written = ("scale_image", {"bbox_2d": [0, 0, 84, 84], "image_index": 0})
"""The system calls these tools so, by names that `tiny` knows."""
TAKE: Written = ("take_away", {"action": "left"})
TURNS = ((READ, READ), (FAR, READ), (READ, HALVE), (READ, FIND_ALL), (TAKE, READ))
ENVIRONMENT = ("gymnasium", "farama_notifications")
PROBLEMS, PROMPTS = 8, "data/polygons/problems.parquet"


def said(thought: str, *calls: Written) -> str:
    listed = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    return f"<think>{thought}</think>" + "".join(f"\n<tool_call>\n{each}\n</tool_call>" for each in listed)


class Detector(Connection):
    """Says the same of each picture."""

    def post(self) -> None:
        self.sent()
        self.send_json({"count": 3})


@pytest.fixture(scope="module")
def detector() -> Iterator[str]:
    """The address of a server that carries a tool's calls out."""
    server = Loopback(Detector)
    with server.running():
        yield server.address


@pytest.fixture(scope="module", autouse=True)
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Environments of the engines with gymnasium, as a user adds it."""
    cache = tmp_path_factory.mktemp("cache")
    for engine in ("sft", "rl"):
        register_with(engine, ENVIRONMENT, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRC_CACHE", str(cache))
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, detector: str) -> Path:
    """A workspace with a system of its own, and rows in its words: two turns of tools for every problem."""
    folder = tmp_path_factory.mktemp("workspace")
    for block in blocks("docs/rewards-and-tools.md"):
        if block.marks.get("file") == "take_away.py":
            (folder / "take_away.py").write_text(block.text)
    (folder / "read_text.py").write_text(TOOL)
    (folder / "both_halves.py").write_text(HALVES)
    (folder / "find.yaml").write_text(FIND.format(address=detector))
    (folder / "count.py").write_text(REWARD)
    done = workspaces.run(folder, "systems", "cp", "tiny", "mine.yaml")
    assert done.returncode == 0, done.stderr
    text = (folder / "mine.yaml").read_text()
    (folder / "mine.yaml").write_text(text.replace("total: rules", "total: ./count.py", 1) + SYSTEM)
    spoken = of_system(systems.get(str(folder / "mine.yaml"))).protocol
    place = folder / "made"
    problems = scenes(place)
    words = ("data", "convert", "made/problems.jsonl", "--to", "data/polygons", "--format", "prompts")
    words = (*words, "--system", "./mine.yaml")
    done = workspaces.run(folder, *words)
    assert done.returncode == 0, done.stderr
    rows = [row for each in problems for row in taught(each, place)]
    (place / "taught.json").write_text(json.dumps(rows))
    (place / FILE_NAME).write_bytes(msgspec.json.encode(spoken))
    return folder


def scenes(place: Path) -> list[dict[str, Any]]:
    """Problems whose pictures are the starts of episodes."""
    environment: Any = tools.get("take_away")
    (place / "images").mkdir(parents=True)
    problems = []
    for number in range(PROBLEMS):
        environment.tool.first(number).save(place / f"images/{number}.png")
        row = {"id": str(number), "image": f"images/{number}.png", "question": "Where is the disc?", "answer": "left"}
        problems.append(row)
    (place / "problems.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in problems))
    return problems


def taught(problem: dict[str, Any], place: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    spoken = of_system(systems.get(str(place.parent / "mine.yaml"))).protocol
    for calls in TURNS:
        with Image.open(place / problem["image"]) as image:
            session = Session(spoken, problem["question"], [image.convert("RGB")], tools=tools.known())
        assert isinstance(session.feed(Reply(said("", *calls))), Unit)
        assert isinstance(session.feed(Reply(f"<think></think>\n<answer>{problem['answer']}</answer>")), Unit)
        names = [problem["image"]]
        for at, shown in enumerate(session.images[1:], 1):
            names.append(f"images/{problem['id']}-{len(rows)}-{at}.png")
            (place / names[-1]).write_bytes(shown.png)
        messages = [{"role": each.role, "content": content_of(each)} for each in session.trace().messages]
        rows.append({"id": f"{problem['id']}-{len(rows)}", "messages": messages, "images": names})
    return rows


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    words = ("--from", "tiny", "--data", "made/taught.json")
    return workspaces.trained(workspace, "./mine.yaml", "instruct", *words, **SFT)


@pytest.fixture(scope="module")
def run(workspace: Path, base: Path) -> Path:
    words = ("--from", base.name, "--with", "multi-turn", "--set", "reward.total=./count.py", "--data", PROMPTS)
    return workspaces.trained(workspace, "./mine.yaml", "rl", *words, **RL)


@pytest.fixture(scope="module")
def traces(run: Path) -> list[dict[str, Any]]:
    """All rollouts of the step."""
    found = [json.loads(file.read_bytes()) for file in sorted((run / "rollouts").glob("step_*/*/trace.json"))]
    assert len(found) == BATCH * SAMPLES
    return found


def results(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for unit in trace["units"] for each in unit["results"]]


def test_turns_have_two_calls_errors_and_texts(traces: Sequence[dict[str, Any]]) -> None:
    every = [unit["results"] for trace in traces for unit in trace["units"]]
    assert any(len(each) == 2 for each in every)
    assert any(each["error"] for trace in traces for each in results(trace))
    assert any(each["text"].startswith("The box") for trace in traces for each in results(trace))
    shown = [message["text"] for trace in traces for message in trace["messages"] if message["role"] == "user"]
    assert any("Error: image_index is 9" in text and "Tool: The box" in text for text in shown)


def test_two_images_of_one_call_are_shown(traces: Sequence[dict[str, Any]]) -> None:
    made = [trace for trace in traces if any(each["text"].startswith("Left") for each in results(trace))]
    assert made
    for trace in made:
        call = next(each for each in results(trace) if each["text"].startswith("Left"))
        assert len(call["images"]) == 2, call


def test_a_server_answers_rollouts(traces: Sequence[dict[str, Any]]) -> None:
    assert any(each["text"] == "Found 3." for trace in traces for each in results(trace))


def test_an_action_shows_what_its_episode_shows(run: Path) -> None:
    acted, environment = 0, cast(Any, tools.get(TAKE[0]))
    for file in (run / "rollouts").glob("step_*/*/trace.json"):
        taken = [each for each in results(json.loads(file.read_bytes())) if (each["call"] or {}).get("name") == TAKE[0]]
        if not taken:
            continue
        first, seen = (open_image(file.with_name(f"image-{at}.png"), "it") for at in (0, *taken[0]["images"][:1]))
        number = marks.number_in(first)
        assert number in range(PROBLEMS)
        scene = environment.tool._make()
        scene.reset(seed=number)
        scene.step(0)
        assert seen.tobytes() == scene.render().tobytes()
        acted += 1
    assert acted


def test_the_reward_counts_the_calls_that_were_carried_out(traces: Sequence[dict[str, Any]]) -> None:
    for trace in traces:
        assert trace["reward"] == sum(each["error"] is None for each in results(trace)), trace["units"]
    assert len({trace["reward"] for trace in traces}) > 1  # or there is nothing to learn


def test_what_was_sampled_is_learnt(run: Path, base: Path) -> None:
    """Chances of the sampler and of the actor agree under the mask alone: that of an id that was shown is not known."""
    (step,) = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(value) for value in step.values() if isinstance(value, float))
    assert step["correlation"] > 0.99
    assert step["grad_norm"] > 0
    changed = child(
        "weights_child.py", base / "checkpoints" / f"checkpoint-{TAUGHT}", run / "checkpoints" / "global_step_1"
    )
    assert changed["parts"]["language"]["change"] > 0
