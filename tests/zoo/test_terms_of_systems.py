"""Terms of published rewards by hand: which part of a rollout of several replies counts, and what a judge is asked."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.told_judge import ToldJudge

from virc.data.rows.record import MARK, Message, Record
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo.chain_of_focus import chain_of_focus
from virc_zoo.deepeyes import deepeyes
from virc_zoo.deepeyes_v2 import deepeyes_v2
from virc_zoo.grit import grit
from virc_zoo.mini_o3 import mini_o3
from virc_zoo.openthinkimg import openthinkimg
from virc_zoo.perception_r1 import perception_r1
from virc_zoo.ssl4rl import ssl4rl
from virc_zoo.v_thinker import v_thinker
from virc_zoo.vigorl import vigorl
from virc_zoo.vlm_r3 import vlm_r3
from virc_zoo.vrag_rl import vrag_rl

BOX = '{"bbox_2d": [1, 2, 3, 4]}'
YES = '{"Correctness": 1, "Consistency": 1} <judge>True</judge> ## Equivalence Judgement\nTRUE'


def read(reply: str, *before: str, answer: str | None = "5", **columns: Any) -> Sample:
    """A reply behind others, each with what it was told."""
    told = [Message(("assistant", "user")[at % 2], text) for at, text in enumerate(before)]  # type: ignore[arg-type]
    record = Record((Message("user", "Which?"), *told), question="Which?", answer=answer, extra=columns)
    return sample(reply, Prompt(record))


def asked(term: Callable[..., Any], of: Sample, says: str) -> tuple[float | None, list[str]]:
    """What a term is where the judge says so, and the last message of each question to it."""
    judge = ToldJudge(says)
    value = asyncio.run(term(of, Means(judge=judge)))
    assert not judge.chats or all(of.why.values())
    assert not judge.chats or of.why
    return value, [str(chat["messages"][-1]["content"]) for chat in judge.chats]


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


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"data_source": "search"}, "search"), ({"data_source": "deepeyes-v2"}, ""),
        ({"data_source": "search", "published_data_source": "reason"}, "reason"),
    ],
)  # fmt: skip
def test_the_kind_of_a_converted_row_of_deepeyes_v2_is_that_of_the_published_one(
    columns: dict[str, str], kind: str
) -> None:
    called = read("a<tool_call></think>", **columns)
    assert deepeyes_v2.kind_of(called) == kind
    assert deepeyes_v2.searched(called, Means()) == (kind == "search")


@pytest.mark.parametrize(
    ("kind", "reply", "answer", "value", "ends"),
    [
        ("reason", "a</think><answer>y = $1,000$</answer>", "5", 1.0, "1000"),
        ("reason", "a</think><answer>5</answer>", None, 0.0, None),
        ("reason", "a</think>5", "5", 0.0, None),
        ("search", f"a</think><answer>{'x' * 300}</answer>", "5", 0.0, None),
        ("search", f"a</think><answer>{'x' * 299}</answer>", "5", 0.0, "x" * 299),
        ("search", "a</think><answer>1</answer></think> <answer> 2 </answer><answer>3</answer>", "5", 0.0, "]:2\n    "),
        ("perception", "a</think>", "5", 0.0, "]:None\n    "),
    ],
)
def test_the_judge_of_deepeyes_v2_is_asked_about_the_first_answer_behind_the_last_thought(
    kind: str, reply: str, answer: str | None, value: float, ends: str | None
) -> None:
    found, questions = asked(deepeyes_v2.right, read(reply, answer=answer, data_source=kind), YES)
    assert (found, len(questions)) == (value, int(ends is not None))
    assert not questions or (ends or "") in questions[0]
    assert not questions or "1,000" not in questions[0]


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


@pytest.mark.parametrize(
    ("reply", "reference", "says", "value", "judge"),
    [
        ("<answer>a</answer> no: <answer> red </answer>.", "blue / red", "0.0", 1.0, None),
        ("<answer>B</answer>", "A", "1.0", 0.0, None),
        ("<answer>b</answer>", "B", "1.0", 1.0, ("b", "B")),
        ("so\nblue", "blue", "0.0", 1.0, None),
        ("<answer>red/blue</answer>", "red/blue", "so 1.0", 1.0, ("red/blue", "red/blue")),
        ("<answer>ed</answer>", "red/blue", "so 1.0", 0.0, ("ed", "red/blue")),
        (f"<answer>x</answer> {BOX}", "red", "1.0", 1.0, ("x", "red")),
        (f"x {BOX}", "red", "1.0", None, None),
    ],
)
def test_the_last_answer_of_vlm_r3_is_compared_before_it_is_judged(
    reply: str, reference: str, says: str, value: float | None, judge: tuple[str, str] | None
) -> None:
    found, questions = asked(vlm_r3.answer, read(reply, answer=reference), says)
    assert (found, len(questions)) == (value, int(judge is not None))
    assert all(each in question for question in questions for each in judge or ())


@pytest.mark.parametrize(
    ("reply", "closed", "looked", "shortest"),
    [
        (f"abcde {BOX} fghijkl<answer>x</answer>", 1, 1, 0.05),
        (f"abcdefg {BOX} hij<answer>some more</answer> b", 0, 1, 0.03),
        (f"{BOX}abcd{BOX}{BOX}efg", 0, 1, 0),  # nothing before the first box; boxes side by side have no piece
        (f"abcd{BOX}{BOX}<think>efg</think>", 0, 1, 0.03),
        (f"abcd {BOX} efg {{no}} {{'bbox_2d': [1]}}", 0, 0, 0.04),  # all of it has to be readable
        ('abcd {"bbox": [1]} e', 0, 0, 0.1),
        ("a</answer>\n", 0, 0, 0.1),
    ],
)
def test_looks_of_vlm_r3_and_the_texts_between(reply: str, closed: int, looked: int, shortest: float) -> None:
    found = [term(read(reply), Means()) for term in (vlm_r3.closed, vlm_r3.looked, vlm_r3.shortest)]
    assert found == [closed, looked, pytest.approx(shortest)]


@pytest.mark.parametrize(
    ("said", "value", "judge"),
    [
        ("<answer>The answer is 5</answer>", 1.0, None), ("<answer>5.0</answer>", 1.0, None), ("5", 0.0, None),
        ("<answer>Answer: six</answer>", -1.0, "Answer: six"),
    ],
)  # fmt: skip
def test_v_thinker_asks_its_judge_about_the_whole_answer(said: str, value: float, judge: str | None) -> None:
    found, questions = asked(v_thinker.right, read(said), '{"Correctness": 0}')
    assert (found, len(questions)) == (value, int(judge is not None))
    assert all((judge or "") in question for question in questions)
    within = read("<answer>Either The answer isB</answer>", answer="Either B")
    assert asked(v_thinker.right, within, '{"Correctness": 0}') == (1.0, [])


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>a</think>b<think>c</think>", "a"), ("a b</think> c</think>", "a b"),
        ("<think><image>a<sandbox_output>b</sandbox_output></think>", "ab"),
    ],
)  # fmt: skip
def test_the_first_thought_of_v_thinker_counts(text: str, thought: str) -> None:
    assert v_thinker.thought_of(text) == thought


def test_the_end_of_a_thought_of_v_thinker_is_judged() -> None:
    reply = f"<think>{'a' * 400}{'b' * 500}</think>\n<answer>5</answer>"
    found, (question,) = asked(v_thinker.consistent, read(reply), YES)
    assert (found, "b" * 500 in question, f"a{'b' * 500}" in question) == (1.0, True, False)
    assert asked(v_thinker.consistent, read("<think>a</think>5"), YES) == (0.0, [])


@pytest.mark.parametrize(
    ("reply", "formed", "ran"),
    [
        ("<think>a</think>\n<answer>5</answer>", 1, 0), ("<think>a</think>.<answer>5</answer>", 0, 0),
        ("<think>a</think>\n<answer>5</answer>.", 0, 0), ("<think><think>a</think>\n<answer>5</answer>", 0, 0),
        ("<sandbox_output>1</sandbox_output><sandbox_output>Sandbox FOR x</sandbox_output><answer>1</answer>", 0, 0.5),
        ("<sandbox_output>1</sandbox_output>", 0, 0),
    ],
)  # fmt: skip
def test_the_form_and_the_code_of_v_thinker(reply: str, formed: float, ran: float) -> None:
    assert (v_thinker.formed(read(reply), Means()), v_thinker.ran(read(reply), Means())) == (formed, ran)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        (r"<answer>\boxed{5}</answer> \boxed{7}", 1), (r"<answer>\boxed{7}</answer> \boxed{5}", 0),
        ("it is $3$ or $5$", 1), ("it is $5$ or $3$", 0),
    ],
)  # fmt: skip
def test_the_first_answer_of_perception_r1_and_its_last_formula_count(reply: str, right: float) -> None:
    assert asyncio.run(perception_r1.right(read(reply), Means())) == right


@pytest.mark.parametrize(
    ("answer", "behind", "formed"), [(r"\boxed{5}", "", 1), (r"\boxed{5}", " ", 0), (r"\boxed{5", "", 0), ("5", "", 0)]
)
def test_an_answer_of_perception_r1_stands_on_a_line_with_a_box(answer: str, behind: str, formed: float) -> None:
    reply = f"<think>\na\n</think>\n<answer>\n{answer}\n</answer>{behind}"
    assert perception_r1.formed(read(reply), Means()) == formed


@pytest.mark.parametrize(("facts", "value", "count"), [([], 0.0, 0), (["AB is 5"], 1.0, 1)])
def test_facts_of_perception_r1_are_judged_where_a_row_has_some(facts: list[str], value: float, count: int) -> None:
    found, questions = asked(perception_r1.stated, read("x", visual_key_info=facts), "<info1>1</info1>")
    assert (found, len(questions)) == (pytest.approx(value, abs=1e-5), count)


SEARCHED = "<search>a</search> <answer>4</answer> <answer>5</answer>"


@pytest.mark.parametrize(
    ("reply", "formed", "value"),
    [(SEARCHED, 1, 1.0), (SEARCHED.replace("search", "think"), 0, None), ("<search>a</search>", 0, None)],
)
def test_the_judge_of_vrag_rl_is_asked_where_a_search_and_an_answer_are_formed(
    reply: str, formed: int, value: float | None
) -> None:
    assert vrag_rl.formed(read(reply), Means()) == formed
    found, questions = asked(vrag_rl.judged, read(reply), YES)
    assert (found, len(questions)) == (value, formed)
    after = read(reply, "a", "no </search> and no </answer> here")
    assert vrag_rl.formed(after, Means()) == formed


@pytest.mark.parametrize(
    ("columns", "pages"),
    [
        ({"file_name": "a.pdf", "reference_page": [3, 4]}, ["a_3", "a_4"]),
        ({"meta_info": {"file_name": "b.pdf", "reference_page": 5}}, ["b_5"]),
        ({"extra_info": {"file_name": "c", "reference_page": [1]}}, ["c_1"]), ({"file_name": "a.pdf"}, []),
    ],
)  # fmt: skip
def test_pages_of_a_row_of_vrag_rl_are_named_in_one_of_three_places(columns: dict[str, Any], pages: list[str]) -> None:
    assert vrag_rl.pages_of(columns) == pages


@pytest.mark.parametrize(
    ("module", "terms", "total"),
    [
        (deepeyes_v2, {"right": 1, "searched": 1, "formed": 1}, 0.92),
        (deepeyes_v2, {"right": 1, "searched": 0, "formed": 0}, 0.8),
        (vlm_r3, {"answer": 1, "looked": 1, "closed": 1, "shortest": 0.1}, 2.1),
        (vlm_r3, {"answer": 0.5, "looked": 1, "closed": 0, "shortest": 0.1}, 0.6),
        (v_thinker, {"right": -1, "formed": 1, "ran": 1, "consistent": 1}, -0.5),
        (v_thinker, {"right": 1, "formed": 1, "ran": 1, "consistent": 1}, 2.3),
        (perception_r1, {"right": 1, "formed": 1, "stated": 0.5, "varied": -0.1}, 1.15),
        (vrag_rl, {"formed": 1, "judged": 1, "ranked": 0.5}, 0.9),
        (vrag_rl, {"formed": 0, "judged": None, "ranked": 0.5}, 0),
    ],
)
def test_terms_add_up_as_their_modules_say(module: Any, terms: dict[str, float], total: float) -> None:
    assert module.total(SimpleNamespace(**terms)) == pytest.approx(total)


@pytest.mark.parametrize(
    ("reply", "answer", "matched"),
    [
        ("<answer>rED </answer>", "Red", 1), ("<answer>x</answer> <answer>5</answer>", "5", 0),
        ("</answer><answer>5</answer>", "5", 1), ("so <ANSWER>5", "5", 0),
    ],
)  # fmt: skip
def test_the_first_answer_of_vigorl_is_compared(reply: str, answer: str, matched: float) -> None:
    assert vigorl.matched(read(reply, answer=answer), Means()) == matched


def looking(*bodies: str) -> str:
    """A rollout of ViGoRL with these calls."""
    call = "<think>t</think><tool_call>{}</tool_call><observation>o</observation>"
    return "".join(map(call.format, bodies)) + "<think>t</think><answer>5</answer>"


def point(*at: object) -> str:
    return f'{{"name": "look", "arguments": {{"coordinate": {list(at)}}}}}'


def test_the_last_answer_of_chain_of_focus_is_judged_unless_it_looks() -> None:
    said = read("<answer>a</answer> <answer>red</answer>")
    found, (question,) = asked(chain_of_focus.judged, said, "Judgement: 1")
    assert (found, "red" in question, said.why.keys()) == (1.0, True, {"judged"})
    assert asked(chain_of_focus.judged, read("<tool_call>{}</tool_call>"), "1") == (None, [])
    looked = read("<answer>red</answer>", "a <tool_call>1</tool_call>", f"{MARK}out")
    assert [chain_of_focus.called(each, Means()) for each in (said, looked)] == [0, 1]


def test_the_judge_of_grit_sees_the_text_between_the_answer_tags_alone() -> None:
    _, (question,) = asked(grit.judged, read("<answer>red</answer> or blue"), "score: 1")
    assert ("red" in question, "blue" in question) == (True, False)


@pytest.mark.parametrize(
    ("text", "orderly"),
    [
        (looking(), 1), (looking().replace("5", " "), 0), (f"{looking()} so", 0), (f"<think>t</think>{looking()}", 0),
        ("<think>t</think>", 0), (looking(point(1, 2)), 1), (looking(point(1, 2), point(50, 2)), 1.2),
        (looking(point(1, 2), point(1, 50)), 1.2), (looking(point(1, 2), point(2, 2)), 1), (looking(point(1)), 0),
        (looking(point(1, 2, 3)), 0), (looking(point(1.5, 2)), 0), (looking(point(1, 2), "{x}"), 0),
        (looking("{}", point(1, 2)), 0), (looking("[1]", point(1, 2)), 1), (looking('{"a": 1', point(1, 2)), 1),
    ],
)  # fmt: skip
def test_turns_of_vigorl_are_in_order_and_its_points_apart(text: str, orderly: float) -> None:
    assert vigorl.orderly(read(text), Means()) == pytest.approx(orderly)


def ends(answer: str) -> str:
    return f'{{"actions": [{{"name": "Terminate", "arguments": {{"ans": "{answer}"}}}}]}}'


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("5", "<answer> 5 </answer>", 1), (ends("red"), "red", 1), ("red", "red", 1), (ends("blue"), "red", 0),
        ("12 or 5", "5", 1), ("5 or 12", "5", 0), ("it is 1,000", "1000", 1), (f"{ends('it is 5')} 7", "5", 1),
        ("so 7", "it is 7", 1), ("it is 5.0", "5", 1),
    ],
)  # fmt: skip
def test_the_last_number_of_openthinkimg_or_that_of_its_end_counts(reply: str, answer: str, right: float) -> None:
    assert asyncio.run(openthinkimg.right(read(reply, answer=answer), Means())) == right


@pytest.mark.parametrize(
    ("said", "answer", "task", "right", "placed"),
    [
        ("<answer> b </answer>", "a, b", "imagenet_qa", 1, None),
        ("<answer>c</answer>", "a, b", "imagenet_qa", 0, None),
        ("<answer>1</answer>\nassistant\n<answer>90</answer>", "90", "RotationQA", 1, None),
        ("<answer>3,1,2,4,5</answer>", "3,1,2,4", "JigsawQA", None, 1),
        ("<answer>3,1</answer>", "3,1,2,4", "JigsawQA", None, 0.5),
        ("<answer>x, 1,2,4</answer>", "x,1,2,4", "JigsawQA", None, 0.75), ("3", "1,2", "JigsawQA", None, 0),
    ],
)  # fmt: skip
def test_answers_of_ssl4rl_are_compared_by_what_their_row_is_of(
    said: str, answer: str, task: str, right: float | None, placed: float | None
) -> None:
    of = read(said, answer=answer, data_source=task)
    assert (ssl4rl.right(of, Means()), ssl4rl.placed(of, Means())) == (right, placed)


def test_the_judge_of_deepeyes_is_asked_at_the_end_of_a_rollout_alone() -> None:
    call = '<think>a</think><tool_call>{"name": "image_zoom_in_tool"}</tool_call>'
    assert asked(deepeyes.judged, read(call), "1") == (None, [])
    assert asked(deepeyes.judged, read("<think>a</think><answer>5</answer>"), "1")[0] == 1
    assert asked(deepeyes.judged, read("<think>a</think><answer>5</answer>"), "0")[0] == 0
    _, (question,) = asked(deepeyes.judged, read("so", "<answer>7</answer>", "told"), "1")
    assert question.endswith("[Model_answer] : 7\nJudgement:")
