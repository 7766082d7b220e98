"""The stages of V-Thinker, Thyme, DeepEyesV2 and RRVF in their real engines, on `tiny` and rows as their programs read
them: code that draws runs in the sandbox while verl rolls out. What ran is recorded.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, workspaces
from support.published_crops import _chain
from support.published_rows import NUMBERS, Row, _json, _question, _saved, embedded, parquet, picture
from support.servers import Body, images_of, serve

from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.tools import registry as tools

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 160  # of one picture: a row has 1,000 tokens, most of them of the system message
TEACHING = recording.teaching(TAUGHT, 3)
RL = recording.rl(n=SAMPLES, prompt_length=2048, response_length=512)
LONGER: Mapping[str, Mapping[str, object]] = {"deepeyes-v2": {"cutoff_len": 3584, "steps": 110, "save_steps": 110}}
PROMPTS: Mapping[str, dict[str, object]] = {"deepeyes-v2": {"prompt_length": 3400}}
"""Its system message has 2,500 tokens."""
DRAWS = "import PIL.Image as I\nI.open(image_path).save('a.png')\nprint('a.png')"
INLINE: Sequence[Sequence[str]] = (
    (f"<think>Look.<code>\n{DRAWS}\n</code>", f"</think>\n<answer>{NUMBERS[0]}</answer>"),
    ("<think>Look.<code>\n1/0\n</code>", f"</think>\n<answer>{NUMBERS[0]}</answer>"),
    (f"<think>Look.</think>\n<answer>{NUMBERS[1]}</answer>",),
)
IN_TURNS: Sequence[Sequence[str]] = (
    ("<think>Look.</think><code>\ndisplay(image_1)\n</code>", f"<think>So.</think><answer>{NUMBERS[0]}</answer>"),
    ('<think>Look.</think><tool_call>{"name": "search", "arguments": {"query": "number"}}</tool_call>',
     f"<think>So.</think><answer>{NUMBERS[0]}</answer>"),
    (f"<think>So.</think><answer>{NUMBERS[1]}</answer>",),
)  # fmt: skip


def tool(name: str, code: str) -> str:
    """A reply that calls a tool with code."""
    return f"<think>Look.</think><tool_call>{json.dumps({'name': name, 'arguments': {'code': code}})}</tool_call>"


GREY = "from PIL import Image as I\nI.new('L', (56, 56)).show()"
REDRAWN: Sequence[Sequence[str]] = tuple(
    (*(tool("redraw", code) for code in calls), f"<think>So.</think><answer>{code}</answer>")
    for calls, code in (([GREY], GREY), (["1/0"], GREY), ([], "1/0"))
)
"""A call that draws, one that fails, and none with an answer that draws nothing."""
REPLIES = {"v-thinker": INLINE, "thyme": INLINE, "deepeyes-v2": IN_TURNS, "rrvf": REDRAWN}
REWARDS = {
    "v-thinker": (1 + 0.5 + 0.3 + 0.5, 1 + 0.5 + 0.5, -1 + 0.5),
    "thyme": (2, 2, -1 + 0.5),
    "deepeyes-v2": (0.8 + 0.2, 0.8 * 0.9 + 0.2, 0.2),
    "rrvf": (0.2 + 1, 0.2, -0.8),
}
"""Of these replies, where the judge calls answers that no rule finds wrong, and thoughts good."""
STAGES = (
    ("v-thinker", "perception"),
    ("v-thinker", "instruct"),
    ("thyme", "instruct"),
    ("thyme", "compute"),
    ("deepeyes-v2", "cold-start"),
    ("rrvf", "instruct"),
)


def verdict(asked: Body) -> str:
    """The judge's reply to either question, and to that of DeepEyesV2, in which the answers stand in two lines; and the
    grade of two pictures, which is what their teacher says too."""
    said = asked["messages"][-1]["content"]
    if images_of(asked):
        return "10"
    if "[模型回答]" in said:
        return "\\boxed{Yes}" if said.count(NUMBERS[0]) == 2 else "\\boxed{No}"
    return '{"Correctness": 0, "Consistency": 1}'


def solutions(system: str, folder: Path) -> Path:
    """Rows of ms-swift: a conversation whose last message has code, what came of it, and the answer."""
    rows, spoken = list[Row](), of_system(systems.get(system)).protocol
    for number, replies in enumerate(REPLIES[system]):
        row = _chain(folder, f"0_{number}", spoken, 0, replies)
        told = row["messages"]
        if (
            REPLIES[system] is not INLINE
        ):  # DeepEyesV2, cold_start/data/dataset_info.json: results are turns of the user
            rows.append({"messages": told, "images": row["images"]})
            continue
        start = next(at for at, each in enumerate(told) if each["role"] == "assistant")
        said = {"role": "assistant", "content": "".join(each["content"] for each in told[start:])}
        rows.append({"messages": [*told[:start], said], "images": row["images"]})
    return _json(folder / "solutions.json", rows)


def problems(system: str, folder: Path) -> Path:
    """Rows with the fields that the reward's program reads."""
    if system == "deepeyes-v2":
        # Visual-Agent/DeepEyesV2@0373e6e, verl/utils/reward_score/__init__.py and deepeyesv2.py
        info = {"index": "search_0", "question": _question(0), "answer": NUMBERS[0]}
        prompt = [{"role": "user", "content": f"{MARK}{_question(0)}"}]
        told = {"data_source": "search", "env_name": "deepeyes_v2", "ability": "search", "prompt": prompt}
        model = {"style": "model", "ground_truth": NUMBERS[0]}
        return parquet(
            folder / "search.parquet", [{**told, "images": [embedded(0)], "reward_model": model, "extra_info": info}]
        )
    # We-Math/V-Thinker@77a5ab8119d7, scripts/plugin/agent_rm.py, and yfzhang114/Thyme@b9285b7a0c5f, README.md, 4.1
    image = _saved(folder, "images/0.png", picture(0))
    if system == "rrvf":  # of no publication
        return _json(folder / "problems.json", [{"id": "0", "question": _question(0), "answer": "-", "image": image}])
    row = {"question": f"{MARK}{_question(0)}", "solution": NUMBERS[0], "images": [image]}
    return _json(folder / "problems.json", [row])


@pytest.fixture(autouse=True)
def pages(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page for the tool `search` of DeepEyesV2."""
    folder = workspace / "pages"
    folder.mkdir(exist_ok=True)
    picture(1).save(folder / "page.png")
    (folder / "page.txt").write_text("a page about a number")
    monkeypatch.setenv("VIRC_PAGES", str(folder))


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tool of RRVF, and what compares drawings with pictures."""
    tools.load(systems.get("rrvf").offered)
    with serve(verdict) as server:
        monkeypatch.setenv("TEACHER_ENDPOINT", server.url)
        yield


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(scope="module")
def chains(workspace: Path) -> Callable[[str], str]:
    """Rows that the supervised stages of a system take, made of those that the programs read."""

    @cache
    def made(system: str) -> str:
        file = solutions(system, workspace / "published" / system / "sft")
        return recording.converted(workspace, system, file, f"data/{system}-sft", "sft")

    return made


@pytest.mark.parametrize(("system", "stage"), STAGES)
def test_the_supervised_stages_learn_code_and_answers(
    system: str, stage: str, workspace: Path, base: Path, chains: Callable[[str], str]
) -> None:
    words = ("--with", "cpu", "--from", str(base), "--data", chains(system))
    run = workspaces.trained(workspace, system, stage, *words, **recording.SFT)
    recording.assert_learnt(run, base)
    tested.ran(run, "sft")


@pytest.mark.parametrize("system", REWARDS)
def test_rl_runs_code_and_rewards_as_published(
    system: str, workspace: Path, base: Path, chains: Callable[[str], str]
) -> None:
    words = ("--from", str(base), "--data", chains(system), "--name", f"taught-{system}")
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **{**TEACHING, **LONGER.get(system, {})})
    file = problems(system, workspace / "published" / system / "rl")
    rows = recording.converted(workspace, system, file, f"data/{system}-prompts", "prompts")
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    with serve(verdict) as judge:
        run = workspaces.trained(
            workspace, system, "rl", *words, "--judge-endpoint", judge.url, **RL | PROMPTS.get(system, {})
        )
    worth = dict(zip(map(tuple, REPLIES[system]), REWARDS[system], strict=True))
    traces = tested.traces(run)
    seen = {recording.said_in(trace): trace["reward"] for trace in traces}
    known = {said: reward for said, reward in seen.items() if said in worth}
    assert known == pytest.approx({said: worth[said] for said in known})
    assert any(len(said) == 2 for said in known), seen  # code was run, and the answer came behind its result
    recording.steps_of(run)
    tested.ran(run, "rl")
