"""RL of VRAG-RL in its real engine, on `tiny` and questions as its authors publish them: without a picture, which the
tool `search` finds while verl rolls out. What ran is recorded.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, workspaces
from support.published_rows import NUMBERS, Row, _json, _saved, picture
from support.servers import Body, serve

from virc.data.rows.record import content_of
from virc.models.chat_protocol import of_system
from virc.reasoning.session import Rejected, Reply, Session
from virc.systems import registry as systems
from virc.tools.registry import known

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 120
TEACHING = recording.teaching(TAUGHT, 3)
RL = recording.rl(n=SAMPLES, prompt_length=1024, response_length=2048)
QUESTION = "Which number does the report have?"
PAGES = {"report_1": "a report with a red number", "report_2": "the weather of last week"}
"""The first answers the question."""
REPLIES: Sequence[Sequence[str]] = (
    ("<think>I search.</think>\n<search>report number</search>",
     "<think>It is small.</think>\n<bbox>[0, 0, 224, 224]</bbox>",
     f"<think>So.</think>\n<answer>{NUMBERS[0]}</answer>"),
    ("<think>I search.</think>\n<search>weather</search>", f"<think>So.</think>\n<answer>{NUMBERS[0]}</answer>"),
    (f"<think>So.</think>\n<answer>{NUMBERS[1]}</answer>",),
)  # fmt: skip
REWARDS = (0.7 + 0.1 + 0.2, 0.7 + 0.1, 0.0)
"""Of these replies: with the page, with another page, without a search."""


@pytest.fixture(autouse=True)
def pages(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace / "pages"
    folder.mkdir(exist_ok=True)
    for at, (name, text) in enumerate(PAGES.items()):
        picture(at).save(folder / f"{name}.jpg")
        (folder / f"{name}.txt").write_text(text)
    monkeypatch.setenv("VIRC_PAGES", str(folder))


def conversations(folder: Path) -> Path:
    """Rows of Alibaba-NLP/VRAG@24f8d05, VRAG-RL/examples/search_sft.json: pages and crops are turns of the user."""
    rows = list[Row]()
    for number, replies in enumerate(REPLIES):
        session = Session(of_system(systems.get("vrag-rl")).protocol, QUESTION, [], tools=known())
        for reply in replies:
            taken = session.feed(Reply(reply))
            assert not isinstance(taken, Rejected), taken
        told = [{"role": each.role, "content": content_of(each)} for each in session.trace().messages]
        images = [_saved(folder, f"images/{number}_{at}.png", shown.pixels) for at, shown in enumerate(session.images)]
        rows.append({"messages": told, "images": images})
    return _json(folder / "search_sft.json", rows)


def questions(folder: Path) -> Path:
    """Rows of VRAG-RL/examples/rag_dataset.json: one object with a list."""
    meta = {"file_name": "report.pdf", "reference_page": [1], "query_type": "Single-Hop"}
    row = {"uid": "report_0", "query": QUESTION, "reference_answer": NUMBERS[0], "meta_info": meta}
    file = folder / "rag_dataset.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"examples": [row]}))
    return file


def verdict(asked: Body) -> str:
    """The judge's reply, of the published question in which both answers stand."""
    said = asked["messages"][-1]["content"]
    return f"<judge>{said.count(NUMBERS[0]) == 2}</judge>"


def test_rl_searches_pages_and_rewards_as_published(workspace: Path) -> None:
    base = published_crops.wide_base(workspace / "wide")
    chains = recording.converted(workspace, "vrag-rl", conversations(workspace / "published"), "data/sft", "sft")
    words = ("--from", str(base), "--data", chains, "--name", "taught")
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    rows = recording.converted(workspace, "vrag-rl", questions(workspace / "published"), "data/prompts", "prompts")
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    with serve(verdict) as judge:
        run = workspaces.trained(workspace, "vrag-rl", "rl", *words, "--judge-endpoint", judge.url, **RL)
    worth = dict(zip(map(tuple, REPLIES), REWARDS, strict=True))
    traces = tested.traces(run)
    seen = {recording.said_in(trace): trace["reward"] for trace in traces}
    same = {said: reward for said, reward in seen.items() if said in worth}
    assert same == pytest.approx({said: worth[said] for said in same})
    assert any(len(said) == 3 for said in same), seen  # a page was found, and a box on it shown
    assert any(len(said) == 1 for said in same), seen  # a rollout of text alone is learnt from, too
    recording.steps_of(run)
    tested.ran(run, "questions")
