"""Terms of published rewards by hand: which part of a rollout of several replies counts, and what a judge is asked."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from virc.data.rows.record import MARK, Message, Record
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo import graders
from virc_zoo.chain_of_focus import chain_of_focus
from virc_zoo.deepeyes import deepeyes
from virc_zoo.deepeyes_v2 import deepeyes_v2
from virc_zoo.mini_o3 import mini_o3
from virc_zoo.perception_r1 import perception_r1
from virc_zoo.v_thinker import v_thinker
from virc_zoo.visual_rft import visual_rft
from virc_zoo.vlm_r3 import vlm_r3
from virc_zoo.vrag_rl import vrag_rl


@pytest.mark.parametrize(
    ("reading", "reply", "value"),
    [
        (deepeyes_v2.equivalence, "## Equivalence Judgement\nTRUE", 1), (deepeyes_v2.equivalence, "True or false", 0),
        (deepeyes_v2.equivalence, "## Equivalence Judgement true\n## Equivalence Judgement no", 0),
        (mini_o3.verdict, "Score: none\n1", None), (mini_o3.verdict, "score: 0\nScore: 1.", 1),
        (deepeyes.verdict, "11", 0), (deepeyes.verdict, "1", 1), (deepeyes.verdict, "Judgement: no. Judgement: 1", 1),
        (deepeyes_v2.verdict, r"Yes <最终结果>No<\最终结果>", 0),
        (deepeyes_v2.verdict, r"\boxed{No}, no: \boxed{Yes}", 1),
        (vlm_r3.verdict, "1.0", 1), (vlm_r3.verdict, "0.0", 0), (vlm_r3.verdict, "11.0", 1),
        (vlm_r3.verdict, "-1.0", 0),
        (vlm_r3.verdict, "so 1.0", 0), (vlm_r3.verdict, "yes", 0),
        (v_thinker.verdict, '{"Correctness": 0}', -1), (v_thinker.verdict, r'{"a": "\sqrt", "Correctness": 1}', 1),
        (v_thinker.verdict, '{"Correctness": 1} ```{"Correctness": 0}```', -1),
        (v_thinker.verdict, '{"Correctness": 1} ```{"Correctness": 0}``` ```x```', 1), (v_thinker.verdict, "no", None),
        (v_thinker.agreement, 'So: {"Consistency": 1}', 1), (v_thinker.agreement, '{"Consistency": 0}', 0),
        (vrag_rl.verdict, "<judge>True, not False</judge>", 1), (vrag_rl.verdict, "<judge>true</judge>", 1),
        (vrag_rl.verdict, "true <judge>False</judge>", 0), (vrag_rl.verdict, "<judge>false</judge>", 0),
        (vrag_rl.verdict, "<judge>so</judge> true", None),
        (perception_r1.share, "<info1>1</info1><info2>0.5</info2>", 0.75),
        (perception_r1.share, "<info1>2</info1><info2>x</info2><info3>-1</info3>", 1 / 3),
        (perception_r1.share, "<info1>0</info1> no <info1>1</info1>", 1),
        (perception_r1.share, "<info2>1</info2>", None),
    ],
)  # fmt: skip
def test_a_judges_reply_is_read_as_its_program_reads_it(
    reading: Callable[[str], float | None], reply: str, value: float | None
) -> None:
    assert reading(reply) == (value if value is None else pytest.approx(value, abs=1e-5))


def test_two_terms_ask_math_verify_once_about_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Mock(ask=Mock(return_value=True))
    monkeypatch.setattr(graders, "_worker", lambda: worker)
    reply = sample("<answer>17</answer>", Prompt(Record(answer="once")))
    means: Any = None
    assert [asyncio.run(term(reply, means)) for term in (visual_rft.matching, visual_rft.confidence)] == [1, 1]
    assert worker.ask.call_count == 1


READ = r"""
import sys
from sympy import sympify
from virc_zoo import graders_worker as grader

for folder in sys.argv[1:]:
    texts = ["open('{0}/a', 'w')", "S('open(\\'{0}/b\\', \\'w\\')')", "[open('{0}/c', 'w')]"]
    for text in [*texts, "x+open('{0}/d', 'w').name"]:
        try:
            sympify(text.format(folder))
        except Exception:
            pass
    grader._refuse_code()
assert grader.equal("2(x+1)", "2x+2")
assert grader.equal("f(x)+5!", "120+f(x)")
assert grader.texts_agree(r"So $\sqrt{8}$", r"$2\sqrt{2}$")
"""


@pytest.mark.integration
def test_the_process_of_published_graders_reads_formulas_and_runs_no_text(tmp_path: Path) -> None:
    folders = [tmp_path / "before", tmp_path / "after"]
    for folder in folders:
        folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", READ, *folders], check=True, timeout=120, env=environment)
    assert len(list(folders[0].iterdir())) == 4  # SymPy runs what it reads
    assert not list(folders[1].iterdir())


@pytest.mark.parametrize(
    ("answer", "stated"),
    [
        ("5", "5"), ("the answer: AB is 5", "5"), ("5 is the answer", "5"), ("x = 3 = 5", "5"), ("10:\n5", "5"),
        ("is\n5", "5"), ("5. So it was", "5"), ("5.5", "5.5"), ("Is 4? Answers are 5", "5"),
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\fbox{5}", "5"), (r"\boxed{4} \boxed{5}", "5"), (r"\boxed{}", r"\boxed{}"), (r"\boxed{5", r"\boxed{5"),
        (r"\boxed 5", r"\boxed 5"), ("Axis x", "x"), ("A: ", "A: "),
    ],
)  # fmt: skip
def test_v_thinker_grades_what_stands_behind_words_of_an_answer(answer: str, stated: str) -> None:
    assert v_thinker.stated(answer.strip()) == stated.strip()


BOX = '{"bbox_2d": [1, 2, 3, 4]}'


def read(reply: str, *before: str, answer: str | None = "5", **columns: Any) -> Sample:
    """A reply behind others, each with what it was told."""
    told = [Message(("assistant", "user")[at % 2], text) for at, text in enumerate(before)]  # type: ignore[arg-type]
    record = Record((Message("user", "Which?"), *told), question="Which?", answer=answer, extra=columns)
    return sample(reply, Prompt(record))


@pytest.mark.parametrize(
    ("module", "before", "reply", "text"),
    [
        (
            deepeyes_v2, ("a</think><code>1</code>", f"{MARK}out", "<think>b</think>", "more"), "c</think>5",
            "<think>a</think><code>1</code><image>out<think>b</think>more<think>c</think>5",
        ),
        (v_thinker, ("a", f"{MARK}b", "c", "d"), "e", "a<image>bcde"),
        (
            chain_of_focus, ("a <tool_call>1</tool_call>", f"{MARK}out"), "b",
            "a <tool_call>1</tool_call>\nassistant\nout\nassistant\nb",
        ),
        (vlm_r3, (f"one {BOX}", f" {MARK}two ", "three"), "<answer>4", f"one {BOX}\ntwothree<answer>4</answer>\n"),
        (vlm_r3, ('a {"bbox_2d": [1] }', MARK), "of bbox_2d", 'a {"bbox_2d": [1]}\nof bbox_2d'),
        (
            vrag_rl, ("so <search>a</search> <think>b", "told", "<think>c</think>d<answer>e</answer>"),
            "<bbox>1</bbox>",
            "<search>a</search>\ntold\n<think>c</think>\n<answer>e</answer>\n<bbox>1</bbox>",
        ),
    ],
)  # fmt: skip
def test_a_completion_is_all_that_was_written_and_told(
    module: Any, before: tuple[str, ...], reply: str, text: str
) -> None:
    assert module.completion(read(reply, *before)) == text
