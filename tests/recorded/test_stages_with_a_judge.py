"""Stages whose reward asks a judge, in their real engine, from rows in their published layout; the judge is scripted.

`tiny` is first taught how replies are written there, by right and wrong ones alike. The rewards of those that it writes
are held against what they are worth by hand. What ran is recorded.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from recorded import recording
from support import published_rows, rows_of_thinkers, tested, workspaces
from support.servers import Body, serve

from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

ROWS, SAMPLES, TAUGHT = 3, 8, 160
TEACHING = recording.teaching(TAUGHT, cutoff_len=2304)
RL = recording.rl(ROWS, n=SAMPLES, prompt_length=1024, response_length=160, validation="null", test_freq="null")
ALL = 0.5 + 0.5 + 0.5
"""What one <answer>, all tags in order and no repetition are worth."""
ANSWERED = 0.1 / 2
"""What words are worth where the right one stands beside `</answer>`, which counts as one."""
GRIT = {
    "How many squares are there?": {
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>1</answer>": 1 + ANSWERED + ALL + 0.5 + 1,
        "<think>Look</think><rethink>So.</rethink><answer>2</answer>": ALL - 0.1,  # a thought of one word
        "2": 0.5,
    },
    "How many numbers are there?": {
        "<think>[1, 2, 30, 40] [5, 6, 70, 80]</think><rethink>So.</rethink><answer>2</answer>": (
            1 + ANSWERED + ALL + 0.5 + 1
        ),
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>2</answer>": 1 + ANSWERED + ALL + 0.5,
        "<rethink>So.</rethink>": 0.5 + 0.5 * 2 / 5,
    },
    "Is the square left of the number?": {
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>yes</answer>": 1 + ANSWERED + ALL + 0.5,
        "<answer>no</answer>": 0.5 + 0.5,
        "<answer>yes": 1 + 0.1 + 0.5 + 0.5,
    },
}
"""What `tiny` is taught to reply to each row of GRIT, and what it is worth, by hand."""


def framed(thought: str, answer: str) -> str:
    """A reply of Perception-R1."""
    return f"<think>\n{thought}\n</think>\n<answer>\n\\boxed{{{answer}}}\n</answer>"


def perceived(right: str, wrong: str, fact: float) -> dict[str, float]:
    """Replies of Perception-R1 with the right number, its square, both or none; a fact is worth so much."""
    return {
        framed("A square.", right): 0.9 + 0.1 + 2 * fact,
        framed("Look.", right): 0.9 + 0.1 + fact,
        framed("A square.", wrong): 0.1 + fact,
        f"\\boxed{{{right}}}": 0.9 + fact,
        f"\\boxed{{{wrong}}}": 0,
    }


PERCEPTION_R1 = {
    question: perceived(right, "31", 0.7 * share)
    for question, right, share in zip(rows_of_thinkers.PERCEIVED, published_rows.NUMBERS, (0.5, 0.5, 0), strict=True)
}
"""What `tiny` is taught to reply to each row of Perception-R1, and what it is worth, by hand."""


def grounded(at: int, number: str, wrong: str, missing: float) -> dict[str, float]:
    """Replies of GRiP: the square, another place, no box, and no marks; the square covers so little of the boxes."""
    said, elsewhere = (f"<think>At <box>{box}</box>.</think>" for box in (rows_of_thinkers.square(at), [1, 2, 9, 9]))
    return {
        f"{said}<answer>{number}</answer>": 1 + 1 + (1 - missing) + 1,
        f"{elsewhere}<answer>{number}</answer>": 1 + 1 + 0 + 1,
        f"<think>Look.</think><answer>{wrong}</answer>": 1,
        f"<answer>{number}</answer>": 0,
    }


GRIP = {
    question: grounded(at, number, "31", 0.25 * (at == 2))
    for at, (question, number) in enumerate(rows_of_thinkers.GRIP.items())
}
"""What `tiny` is taught to reply to each row of GRiP, and what it is worth, by hand: the last has a second box."""


def verdict(asked: Body) -> str:
    """The judge's reply: whether both answers are the same text."""
    said = asked["messages"][-1]["content"]
    found = re.search(r"\nStandard answer: (.*) \nModel’s answer: (.*)\Z", said, re.DOTALL)
    assert found, said
    return f'{{"score": {0.5 if found[1] == found[2] else 0}}}'


def stated(asked: Body) -> str:
    """The judge's reply: which facts stand in the response, letter by letter."""
    facts, _, response = asked["messages"][-1]["content"].partition("\nResponse: ")
    return "\n".join(
        f"<info{at}>{int(fact in response)}</info{at}>" for at, fact in re.findall(r"<info(\d)>(.*?)</info\1>", facts)
    )


def way(asked: Body) -> str:
    """The judge's reply: a sound way of reasoning where a thought names a place."""
    return "A" if "Thought: At" in asked["messages"][-1]["content"] else "N"


@pytest.mark.parametrize(
    ("system", "layout", "write", "replies", "says"),
    [
        ("grit", "train", rows_of_thinkers.grit, GRIT, verdict),
        ("perception-r1", "geo3k", rows_of_thinkers.perception_r1, PERCEPTION_R1, stated),
        ("grip", "rl", rows_of_thinkers.grip, GRIP, way),
    ],
    ids=["grit", "perception-r1", "grip"],
)
def test_the_stage_learns_from_its_published_reward(
    system: str,
    layout: str,
    write: Callable[[Path], Path],
    replies: Mapping[str, Mapping[str, float]],
    says: Callable[[Body], str],
    tmp_path: Path,
) -> None:
    rows = recording.converted(tmp_path, system, write(tmp_path / "published"), f"data/{system}", "prompts")
    taught = rows_of_thinkers.taught(
        tmp_path / "data" / "taught", system, {question: [*said] for question, said in replies.items()}
    )
    lessons = ("--from", "tiny", "--data", str(taught.relative_to(tmp_path)))
    start = workspaces.trained(tmp_path, "tiny", "instruct", *lessons, **TEACHING)
    with serve(says) as judge:
        words = ("--with", "cpu", "--from", start.name, "--data", rows, "--judge-endpoint", judge.url)
        run = workspaces.trained(tmp_path, system, "rl", *words, **RL)
        assert judge.chats()
    traces = recording.assert_rewarded(run, lambda question, said: replies[question].get(said[0]))
    assert len(traces) == ROWS * SAMPLES
    spoken = of_system(systems.get(system)).protocol.first
    assert {trace["protocol"]["first"] for trace in traces} == {spoken}
    assert [each["step"] for each in recording.steps_of(run)] == [*range(1, ROWS + 1)]
    recording.assert_weights_changed(start, TAUGHT, run, ROWS)
    tested.ran(run, layout)
