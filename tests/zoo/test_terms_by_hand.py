"""Terms of rewards of one reply, by hand: the cases in which their programs differ from what one would write."""

import asyncio
import json
from collections.abc import Callable
from inspect import isawaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.row_files import png

from virc.core.errors import DataError
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.models.chat_protocol import of_system
from virc.reasoning.images import Shown
from virc.reasoning.messages import parse
from virc.rewards.context import RewardContext
from virc.rewards.judging import Verdict
from virc.rewards.sample import Prompt, Sample, sample
from virc.systems import registry as systems
from virc_zoo.actial import actial
from virc_zoo.chain_of_focus import chain_of_focus
from virc_zoo.curr_reft import curr_reft_choice, curr_reft_judge, curr_reft_open
from virc_zoo.deepeyes import deepeyes
from virc_zoo.deepeyes_v2 import deepeyes_v2
from virc_zoo.grit import grit
from virc_zoo.openvlthinker import openvlthinker
from virc_zoo.revisor import revisor
from virc_zoo.rewardmap import rewardmap
from virc_zoo.rewardmap import rows as rewardmap_rows
from virc_zoo.vicrit import vicrit
from virc_zoo.videorft import videorft
from virc_zoo.vision_g1 import vision_g1
from virc_zoo.vitar import vitar


def read(reply: str, answer: str = "5", **columns: Any) -> Sample:
    return sample(reply, Prompt(Record((Message("user", "?"),), question="?", answer=answer, extra=columns)))


@pytest.mark.parametrize(
    ("term", "reply", "answer", "task", "value"),
    [
        (actial.right, "<ANSWER> 5 </answer><answer>6</answer>", "5", "", 1),  # the first counts
        (actial.right, "5", "None", "", 1),  # without marks it is the word None
        (actial.right, "<answer> </answer>", "", "", 0),
        (actial.formed, "\n<think>a</think> <Answer>5</answer> ", "5", "", 1),
        (actial.formed, "<answer>5</answer>", "5", "", 0),
        (actial.formed, "<think>a</think><answer>5</answer> so", "5", "", 0),
        (curr_reft_judge.framed, "<think>a</think>\n<answer>5</answer>", "5", "math", 1),
        (curr_reft_judge.framed, "so <think>a</think><answer>5</answer>", "5", "math", 0),
        (curr_reft_judge.framed, "<think>a</think><answer>{[1, 2, 3, 4]}</answer>", "5", "detection", 1),
        (curr_reft_judge.framed, "<think>a</think><answer>[1, 2, 3, 4]{}</answer>", "5", "detection", 0),
        (curr_reft_judge.right, "<answer>Yes, it is</answer>", "true", "", 1),
        (curr_reft_judge.right, "<answer>not incorrectly</answer>", "perhaps", "", 0),  # neither says yes or no
        (curr_reft_judge.right, "<answer>yes and no</answer>", "no", "", 0),
        (curr_reft_choice.right, "<answer>a and b</answer>", "A, B", "", 1),
        (curr_reft_choice.right, "<answer>b and a</answer>", "A, B", "", 0),
        (curr_reft_choice.right, "A, B", "A, B", "", 0),
        (curr_reft_open.found, "<answer>[0, 0, 10, 10] [0, 0, 0, 0]</answer>", "[0, 0, 10, 10]", "detection", 1),
        (curr_reft_open.found, "<answer>[9, 9, 9, 9] [0, 0, 9, 10]</answer>", "[0, 0, 10, 10]", "detection", 1),
        (curr_reft_open.found, "<answer>[0, 0, 5.9, 10]</answer>", "[0, 0, 10, 10]", "detection", 0),  # 5, of 10
        (curr_reft_open.found, "<answer>[0, 0, 1, 10]</answer>", "[0, 0, 1, 10]", "detection", 0),  # an overlap of 1 px
        (curr_reft_open.found, "<answer>[0, 0, 2, 10]</answer>", "[0, 0, 2, 10]", "detection", 1),
        (revisor.looked, "<time_interval>[1, 3.5]</time_interval>", "A", "", 1),
        (revisor.looked, "<time_interval>[1, 2.5]</time_interval>", "A", "", 0),
        (revisor.looked, "<time_interval>[1, 3.5]</time_interval><answer>A</answer>", "A", "", 0),
        (curr_reft_open.named, "<answer>cat, dog,</answer>", "dog", "classify", 0.5),
        (curr_reft_open.named, "<answer>cat [</answer>", "cat", "classify", 0),
        (curr_reft_open.named, "<answer>cat.", "cat", "classify", 1),  # to the last character but one
        (curr_reft_open.solved, "<answer>red</answer>", "B. dark red", "math", 1),
        (curr_reft_open.solved, "It is 7. <answer>5.00</answer> or 8", "c = 5", "math", 0),  # the whole reply, its end
        (deepeyes.orderly, "<think><answer></think><answer>5</answer>", "5", "", 0),
        (deepeyes.orderly, "<think>a</think><answer>5", "5", "", -1),
        (grit.worded, "<answer>red", "red cars", "", pytest.approx(0.3679, abs=1e-4)),  # e**(1 - 2 / 1)
        (grit.worded, "<answer>red, red cars!", "Red cars", "", pytest.approx(2 / 3)),
        (grit.answered, "<answer><answer>", "5", "", 0.5),
        (grit.boxed, "1,2,3,4", "5", "", 0),
        (grit.boxed, "1,2,3,4<rethink>", "5", "", 1),
        (grit.counted, "1,2,3,4 and 5, 6, 7, 8<rethink>9,9,9,9", "2", "", 1),
        (grit.counted, "1,2,3,4", "1", "", 0),
        (grit.ordered, "<think>-</think><rethink>b</rethink>", "5", "", 0.8),
        (grit.ordered, "<think>a b</think><rethink>b</rethink>", "5", "", 1),
        (grit.ordered, "<rethink>b</rethink><think>a b</think>", "5", "", 0.4),  # the second comes first
        (vision_g1.right, "Of 7 dogs, 2 are red and 3 big ones", "3", "", 1),
        (vision_g1.right, "Of 3 dogs, 2 are red", "3", "", 0),
        (openvlthinker.concluded, "<think>a</think> so <think>b</think><answer>5</answer>", "5", "", 0),
        (openvlthinker.concluded, "<think>a</think> so <answer>5</answer>", "5", "", 1),
    ],
)
def test_a_term_is_as_its_program_has_it(
    term: Callable[[Sample, RewardContext], Any], reply: str, answer: str, task: str, value: Any
) -> None:
    async def found() -> Any:
        term_value = term(read(reply, answer, task=task, dataset="tallyqa"), RewardContext())
        return await term_value if isawaitable(term_value) else term_value

    assert asyncio.run(found()) == value


def test_a_rollout_is_worth_what_its_module_says() -> None:
    assert openvlthinker.total(SimpleNamespace(answer=1, concluded=0)) == 0.5
    terms = {"judged": 1, "worded": 0.5, "counted": 1, "answered": 1, "boxed": 1, "ordered": 0.8, "varied": 1}
    assert grit.total(SimpleNamespace(**terms)) == pytest.approx(1 + 0.05 + 1 + 0.5 * 3.8)
    told = [Message("assistant", f"a{MARK}"), Message("user", f"{MARK}out")]
    said = sample("b", Prompt(Record((Message("user", "?"), *told), question="?")))
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert deepeyes.completion(said) == (
        f"a{MARK}<|im_end|>\n<|im_start|>user\n{image}out<|im_end|>\n<|im_start|>assistant\nb<|im_end|>"
    )
    whole = "<think>It is 15 cm</think><answer>B</answer>"  # the number of a thought is right, as published
    solved = curr_reft_open.solved(
        read("15. <answer>C</answer>", "B", task="math", whole_solution=whole), RewardContext()
    )
    assert asyncio.run(solved) == 1
    grammar = of_system(systems.get("curr-reft")).grammar
    assert parse("<answer>5</answer> or <answer>6</answer>", grammar).answer == "5"
    assert curr_reft_judge.answer_of("<answer> a </answer>") == curr_reft_judge.answer_of("<answer> a <answer>b") == "a"


def test_a_reply_of_vitar_behind_an_answer_is_worth_nothing() -> None:
    reply = '{"thought": "", "actions": [{"name": "Terminate", "arguments": {"answer": "yes"}}]}'
    told = (Message("user", "?"), Message("assistant", reply[:-1]), Message("user", "Error"))
    first = read(reply[:-1], "yes")
    second = sample(reply, Prompt(Record(told, question="?", answer="yes")))
    worth = [(vitar.acted(each, RewardContext()), vitar.right(each, RewardContext())) for each in (first, second)]
    assert worth == [(1, 1), (0, 0)]


def test_a_route_of_rewardmap_leads_by_stations_of_its_map(tmp_path: Path) -> None:
    lines = {"Line 1": ["A (Branch-starting Station)", "B（换乘站）"], "Line 4": ["B", "C"]}
    (tmp_path / "map.json").write_text(json.dumps(lines), encoding="utf-8")
    (row,) = rewardmap_rows.rows({"json": "map.json", "question": "?", "answer": "1"}, 1, "", tmp_path)
    assert row == {"json": lines, "question": "?", "answer": "1"}
    for name, said in ((lines, "no name of a file"), ("gone.json", "gone.json of its column json cannot be read")):
        with pytest.raises(DataError, match=said):
            next(rewardmap_rows.rows({"json": name}, 1, "", tmp_path))
    asked = {"type": "planning", "difficulty_city": "middle", "station_1": "A", "station_2": "C"}
    leg = "Route Name: {}\nDeparture Stop: {}\nArrival Stop: {}\n"
    said = f"{leg.format('Line 1', 'A Station', 'B站')}--\n{leg.format('大兴线', 'B', 'C')}"
    of = read(said, "", **asked, question_transfer_count=1, json=lines)
    terms = {term: getattr(rewardmap, term)(of, RewardContext()) for term in rewardmap.TERMS}
    # 2 for both ends, 3 for each line, 1 for the change, and 5 less for one more leg than changes
    assert terms == {"right": 1, "route": 4, "difficulty": pytest.approx(1.7)}
    assert rewardmap.total(SimpleNamespace(**terms)) == pytest.approx((10 + 0.5 * 4) * 1.7)


@pytest.mark.parametrize(
    ("said", "exact"),
    [("a red cat", 1), ("'A red cat.'", 1), ("sits a red cat on", 1), ("There sits a red cat on a mat", 1),
     ("red cat", 0), ("a red cat of wood", 0), ("a red cat on a mat, a red cat", 0), ("", 0)],
)  # fmt: skip
def test_words_of_the_caption_around_the_wrong_phrase_of_vicrit_do_not_count(said: str, exact: float) -> None:
    record = Record((Message("user", "?"),), question="There sits a red cat on a mat.", answer="a red cat")
    assert vicrit.exact(sample(rf"<think>t</think>\boxed{{{said}}}", Prompt(record)), RewardContext()) == exact


@pytest.mark.parametrize(
    ("answer", "spelled"),
    [(r"so $\frac1$ is", r"\frac{1}{}"), (r"$\sqrt$", r"\sqrt{}"), (r"$\frac{1}{2}$", r"\frac{1}{2}"), ("$7$", "7")],
)
def test_deepeyes_v2_spells_a_formula_with_its_dollars(answer: str, spelled: str) -> None:
    assert deepeyes_v2.spelled(answer) == spelled


def test_videorft_compares_the_thought_behind_its_first_sentence_with_each_frame() -> None:
    compared: list[str] = []

    class Embedder:
        async def similarity(self, name: str, one: str, other: Shown) -> Verdict:
            compared.append(one)
            return Verdict(0.4 * len(compared), "")

    images = tuple(Picture("", data=png(at)) for at in range(2))
    record = Record((Message("user", MARK * 2),), images, question="?", answer="5", extra={"problem_type": "numerical"})
    reply = sample("<think>Hmm. A ball. Red.</think><answer>5</answer>", Prompt(record))
    context: Any = SimpleNamespace(asked=Embedder)
    assert asyncio.run(videorft.meant(reply, context)) == pytest.approx((0.8 + 1) / 2)
    assert compared == ["A ball. Red."] * 2


def test_the_sentence_behind_a_crop_is_not_in_the_format_of_chain_of_focus() -> None:
    """Its program takes the sentence out before it counts marks (verl/recipe/zoomin/zoomin_reward3.py)."""
    protocol = of_system(systems.get("chain-of-focus"))
    shown = Message("assistant", protocol.after_image.replace("{image}", MARK))
    assert "<think>" in shown.content, "which names the marks that are counted"
    record = Record((Message("user", "?"), Message("assistant", "<tool_call>"), shown), question="?", answer="5")
    values = {
        reply: chain_of_focus.orderly(sample(reply, Prompt(record, protocol=protocol)), RewardContext())
        for reply in ("<answer>5</answer>", "<think>a</think><answer>5</answer>")
    }
    assert list(values.values()) == [0, 1]
