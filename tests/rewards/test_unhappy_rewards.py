"""Rewards where something lacks: failed calls of earlier replies, judges that fail at first, values that are none."""

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, crop, display, prompt, scale, tool

from virc.backends.openai.link import Link
from virc.core.errors import ConfigError, DataError, NetworkError
from virc.data.rows.record import Message as Row
from virc.reasoning.session import Ask, Message
from virc.rewards import judging, rollouts, trial
from virc.rewards import registry as rewards
from virc.rewards.judging import Judge
from virc.rewards.means import Means
from virc.rewards.published import apply, parse, read_reasoning, read_verdict
from virc.rewards.registry import Term, Terms, Total
from virc.rewards.sample import Prompt, Sample, sample
from virc.rewards.scripted import ExtremeJudge, judged


@pytest.mark.parametrize(
    ("units", "ended", "value"),
    [
        ([0.8], "answer", 0.8), ([0.5, 0.1, 0.8], "answer", 0.3 + 0.8), ([-1.0, 0.8], "answer", -0.2),
        ([0.5], "length", 0.5), ([0.5, 0.1], "length", 0.3), ([], "length", 0.0), ([0.5, 0.1], "format", -1.0),
    ],
)  # fmt: skip
def test_a_rollout_is_worth_its_looks_on_average_and_its_answer(units: list[float], ended: str, value: float) -> None:
    assert rollouts.whole(units, SimpleNamespace(ended=ended)) == pytest.approx(value)


def test_calls_of_earlier_replies_that_failed_are_in_the_log() -> None:
    far, look = tool(crop(0, 0, 84, 84, index=7)), tool(crop(0, 0, 84, 84))
    record = prompt(((280, 196), (84, 84)), before=(look,), strict="own").record
    later = [Row("assistant", far), Row("user", "No."), Row("assistant", "no marks")]
    record = msgspec.structs.replace(record, messages=(*record.messages, *later))
    read = sample(answer("5"), Prompt(record, strict="own"))
    faults = [each.fault for each in read.calls]
    assert (len(faults), faults[0], faults[2]) == (3, None, "it is not in the format")
    assert "images are 0 to 1" in (faults[1] or "")
    assert [each and each.name for each in read.prompt.made_by] == [None, "crop_image"]


def test_the_judge_of_a_thought_sees_all_thoughts_before_it() -> None:
    before = (tool(crop(0, 0, 90, 90), "Far off."), tool(crop(0, 0, 84, 84), "Nearer."))
    known = prompt(((280, 196), (84, 84), (84, 84)), before=before)
    means = judged(r"\boxed{0.5}")
    asyncio.run(rewards.score(sample(tool(crop(0, 0, 42, 42), "There."), known), rewards.find("virc"), means))
    asked = means.judge.asked  # type: ignore[union-attr]
    assert any("Far off. Nearer." in ask.messages[-1].text for ask in asked)
    assert [ask.images[0].size for ask in asked] == [(280, 196)] * 2  # of the focus, too, the first picture


@pytest.mark.parametrize(("failures", "times"), [(2, 0), (3, 1), (4, 1)])
def test_a_judge_that_fails_many_questions_says_so_once(
    failures: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: dict[str, int] = {}

    def reply(ask: Ask, sampling: object) -> Any:
        text = ask.messages[-1].text
        tries[text] = tries.get(text, 0) + 1
        if tries[text] <= failures:
            raise NetworkError("it is busy")
        return SimpleNamespace(text=r"\boxed{1}")

    async def sleep(seconds: float) -> None:
        pass

    monkeypatch.setattr("virc.rewards.judging.asyncio.sleep", sleep)
    monkeypatch.setattr(Link, "answers", lambda self: True)
    said = list[str]()
    judge = Judge("http://127.0.0.1:9/v1", on_wait=said.append, patience=60)
    monkeypatch.setattr(
        judge, "_open", lambda: SimpleNamespace(kind="other", model="m", reply=reply, close=lambda: None)
    )

    async def both() -> list[float]:
        texts = ("a?", "b?")
        asks = (
            judge.verdict("own", Ask((Message("user", each),), ()), judging.SAMPLING, 1, read_verdict) for each in texts
        )
        return [each.value for each in await asyncio.gather(*asks)]

    assert asyncio.run(both()) == [1.0, 1.0]
    assert said == ["it is busy; such questions are asked again, for 60 s at most"] * times
    assert tries == {"a?": failures + 1, "b?": failures + 1}


def _given(value: Any, sample: Sample, means: Means) -> Any:
    return value


def total_of(value: Any, **terms: Any) -> Total:
    found = [Term(name, partial(_given, each), "", Path("mine.py")) for name, each in terms.items()]
    return Total("mine", found, value, "", Path("mine.py"))


@pytest.mark.parametrize(
    ("total", "says", "hint"),
    [
        (total_of(lambda t: "x" * 50), f"total of mine.py gives '{'x' * 40}', which is no number", None),
        (total_of(lambda t: None), "total of mine.py gives 'None', which is no number", "`return` and a number"),
        (total_of(lambda t: float("nan")), "total of mine.py gives 'nan', which is no number", None),
        (total_of(lambda t: t.a, a=float("inf")), "a of mine.py gives 'inf', which is no number", None),
        (total_of(lambda t: 1 + t.a, a=None, b=None, c=1.0), "mine.py fails: TypeError",
         "in a reply whose t.turn is 'answer', these terms are None: a, b"),
        (total_of(lambda t: t.aa, a=1.0), "mine.py fails: AttributeError: TERMS does not name 'aa'; did you mean 'a'?",
         "VIRC_DEBUG=1"),
        (total_of(lambda t: 1 / 0, a=None), "mine.py fails: ZeroDivisionError", "VIRC_DEBUG=1"),
    ],
)  # fmt: skip
def test_a_total_that_gives_no_number_is_one_sentence(total: Total, says: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), total, Means()))
    assert says in refused.value.message
    assert refused.value.hint is None if hint is None else hint in (refused.value.hint or "")


def test_a_reply_at_which_the_published_program_raises_is_worth_nothing() -> None:
    read = sample(tool(crop(0, 0, 84, 84, index=-2)), prompt())
    found = asyncio.run(rewards.score(read, total_of(lambda t: 1.0, a=1.0), Means()))
    assert (found.total, found.terms, found.unscored) == (0.0, {"a": None}, {})
    assert found.why["format"].startswith("the published program raises: there is no image -2")


@pytest.mark.parametrize(("value", "number"), [(True, 1.0), (2, 2.0), (0.5, 0.5)])
def test_truth_values_and_whole_numbers_are_rewards(value: Any, number: float) -> None:
    found = asyncio.run(
        rewards.score(sample(answer("5"), prompt(strict="own")), total_of(lambda t: t.a, a=value), Means())
    )
    assert (found.total, found.terms) == (number, {"a": number})


@pytest.mark.parametrize(
    ("group", "says"),
    [
        (lambda values, ts: values[:1], "group of mine.py gives 1 rewards for 2 rollouts"),
        (lambda values, ts: [1, "x"], "group of mine.py gives 'x', which is no number"),
        (lambda values, ts: [1, None], "group of mine.py gives 'None', which is no number"),
        (lambda values, ts: 5, "mine.py fails: TypeError"),
    ],
)
def test_a_group_that_gives_other_rewards_is_one_sentence(group: Any, says: str) -> None:
    terms = [Terms("answer", {}, {})] * 2
    with pytest.raises(ConfigError) as refused:
        rewards.called_for_all(group, Path("mine.py"), [1.0, 2.0], terms)
    assert says in refused.value.message
    assert rewards.called_for_all(lambda values, ts: (2, True), Path("mine.py"), [1.0, 2.0], terms) == [2.0, 1.0]


def tried(reply: str, total: Total, means: Means, *numbers: int) -> list[trial.Tried]:
    return list(trial.tried([(number, prompt(strict="own")) for number in numbers or (4,)], reply, total, means))


def test_what_is_tried_is_scored_and_said_as_it_was_asked() -> None:
    look = tool(crop(0, 0, 84, 84))
    (found,) = tried(look, rewards.find("virc"), judged(r"\boxed{0.5}"))
    assert [each.name for each in found.asked] == ["focus", "reasoning"]
    assert [each.scored.total for each in tried("", rewards.find("outcome"), Means())] == [0.0]
    with pytest.raises(ConfigError, match=r"^row 4: mine\.py fails: TypeError") as refused:
        tried(answer("5"), total_of(lambda t: 1 + t.a, a=None), Means())
    assert refused.value.hint == "in a reply whose t.turn is 'answer', these terms are None: a"
    with pytest.raises(DataError, match=r"^row 7: .*no answer"):
        list(trial.tried([(7, prompt(strict="own", right=" "))], answer("5"), rewards.find("outcome"), Means()))
    rows = [prompt(strict="own", reference=each) for each in (look, answer("5"))]
    (lacking,) = trial.tried_whole([(1, rows)], rewards.find("virc"), Means())
    assert (lacking.scored.unscored.keys(), lacking.scored.why) == ({"reasoning", "focus"}, {"units": "?, 0.8"})
    rows = [prompt(strict="own", reference=each) for each in (look, "no tags")]
    (whole,) = trial.tried_whole([(1, rows)], rewards.find("outcome"), Means())
    assert (whole.turn, whole.scored.why.keys(), whole.scored.why["units"]) == ("format", {"units", "format"}, "0, 0")


def test_replies_are_compared_where_all_to_their_prompt_have_a_reward() -> None:
    total = msgspec.structs.replace(rewards.find("outcome"), group=lambda values, ts: [9.0] * len(values))
    found = tried(answer("5"), total, Means(), 4, 5, 6)
    unscored = msgspec.structs.replace(found[1].scored, total=None)
    rows = [found[0], msgspec.structs.replace(found[1], scored=unscored), msgspec.structs.replace(found[2], prompt=6)]
    assert [each.compared for each in trial.compared(rows, total)] == [None, None, 9.0]


@pytest.mark.parametrize("high", [True, False])
def test_an_extreme_judge_gives_the_ends_of_what_is_read(high: bool) -> None:
    def verdict(text: str, read: Any) -> float:
        judge = ExtremeJudge(high)
        ask = Ask((Message("system", "You judge."), Message("user", text)), ())
        return asyncio.run(judge.verdict("own", ask, judging.SAMPLING, 1, read)).value

    class Listed(list[str]):
        def __call__(self, reply: str) -> float | None:
            return 0.5 if reply in self else None

    assert verdict("?", Listed(["yes"])) == 0.5  # which cannot be a key of what is known
    assert verdict("?", lambda reply: None) == float(high)  # nothing is read
    assert verdict("?", read_verdict) == float(high)
    forms = {"Score: 5": 0.75, r"\boxed{5}": 0.25}
    assert verdict("?", forms.get) == (0.75 if high else 0.25)
    assert verdict("From 3 to 9.", float) == (10 if high else 0)  # it raises for words
    assert verdict("Worth 77!", lambda reply: 7.0 if reply == "77" else 5.0 if reply == "5" else None) == (
        7 if high else 5
    )


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (r"\boxed{0.5}", 0.5), (r"\boxed{1.1}", None), (r"\boxed{0.2-0.9}", 0.2), (r"\boxed{2-3}", 0.0),
        (r"\boxed{a-b}", None), (r"\boxed{}", None), (r"\boxed{ {1} }", None), ("0.5", None),
        (r"\boxed{0.5} \boxed{0.7}", 0.7), (r"\boxed{0.5", None),
    ],
)  # fmt: skip
def test_the_published_reading_of_a_range_takes_its_lower_end(reply: str, value: float | None) -> None:
    assert read_reasoning(reply) == value


def test_the_published_program_shows_what_it_cuts_and_reads_what_python_reads() -> None:
    call = '{"name": "display_image", "arguments": {"image_index": NaN}}'
    (read,) = parse(f"<think>a</think><tool_call>{call}</tool_call>").calls
    assert (read.name, list(read.arguments)) == ("display_image", ["image_index"])
    black, white = (0, 0, 0), (255, 255, 255)
    for reply, size, color in (
        (tool(crop(0, 0, 140, 98)), (140, 112), black), (tool(display()), (280, 196), white),
        (tool(scale(2)), (560, 392), white), (tool(crop(0, 0, 14, 98)), (28, 196), black),
    ):  # fmt: skip
        found = sample(reply, prompt())
        assert found.call
        page = Image.new("RGB", (280, 196), "white")
        page.paste("black", (0, 0, 140, 98))
        shown = apply(found.call, page)
        assert shown.size == size
        assert shown.pixels.getpixel((size[0] - 1, size[1] - 1)) == color
    assert sample(tool(crop(0, 0, 9)), prompt()).fault == "bbox_2d is not four numbers"


def test_rows_of_one_prompt_are_those_of_its_first_row_whichever_judge_answers_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The judge of the first row answers after that of the second."""
    scored = list[int]()

    async def score(*_: object) -> rewards.Scored:
        scored.append(len(scored))
        if len(scored) == 1:
            while len(scored) == 1:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        return rewards.Scored(1.0, {}, {}, {})

    monkeypatch.setattr(rewards, "score", score)
    rows = [(number, prompt(((280, 196),))) for number in (4, 5)]
    found = list(trial.tried(rows, answer("5"), rewards.find("outcome"), Means()))
    assert [(each.row, each.prompt) for each in found] == [(4, 4), (5, 4)]
