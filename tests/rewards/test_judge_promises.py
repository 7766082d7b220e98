"""What holds whatever server judges: bounds of what it is shown and says, and the time that it takes."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, prompt, tool
from rewards.prompts import scale as scaled
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from virc.rewards import registry as rewards
from virc.rewards.judging import MAX_TEXT, Waited, read_cosine
from virc.rewards.means import Means, means_of
from virc.rewards.needs import without_judge
from virc.rewards.published import read_verdict
from virc.rewards.sample import sample
from virc.rewards.scripted import ScriptedJudge, judged
from virc.rewards.trial import timed
from virc.systems.registry import Judging


@pytest.mark.parametrize("length", [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1, 10 * MAX_TEXT])
def test_a_judge_is_shown_the_beginning_of_each_text(length: int) -> None:
    judge = ScriptedJudge(r"\boxed{1}")
    texts = {"question": "q" * length, "reference": "5", "answer": "a" * length}
    assert asyncio.run(judge.ask("answer", texts, (), read_verdict)).value == 1
    shown = judge.asked[0].messages[-1].text.splitlines()[-1]
    assert (shown.count("q" * 100), shown.count("a" * 100)) == (min(length, MAX_TEXT) // 100,) * 2


@pytest.mark.parametrize(
    ("reply", "value"),
    [("1", 1), ("-1.0", -1), ("0.25", 0.25), ("1.01", None), ("-7", None), ("nan", None), ("", None)],
)
def test_a_cosine_is_a_number_from_minus_one_to_one(reply: str, value: float | None) -> None:
    assert read_cosine(reply) == value


@pytest.mark.parametrize(("one", "other"), [("", "cat"), ("cat", " \n"), ("", "")])
def test_an_empty_text_is_like_none_and_nobody_is_asked(one: str, other: str) -> None:
    judge = ScriptedJudge("0.9")
    assert asyncio.run(judge.similarity("near", one, other)).value == 0
    assert asyncio.run(judge.similarity("near", "cat", "kitten")).value == 0.9
    assert len(judge.asked) == 1


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(0, 4)], 4),
        ([(0, 4), (1, 3)], 4),  # one inside the other
        ([(0, 4), (3, 9)], 9),  # they overlap
        ([(0, 4), (6, 7)], 5),  # one after the other: nobody waits between them
    ],
)
def test_waiting_counts_once_where_questions_overlap(
    spans: Sequence[tuple[int, int]], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("virc.rewards.judging.time.monotonic", lambda: now)
    waited = Waited()
    opened: dict[tuple[int, int], Any] = {}
    for now in range(10):
        for span in spans:
            if now == span[0]:
                opened[span] = waited.asking()
                opened[span].__enter__()
            if now == span[1]:
                opened[span].__exit__(None, None, None)
    assert (waited.seconds, waited.asked) == (seconds, len(spans))


def test_special_tokens_are_none_of_the_reply(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"<s>": 0, "five": 1}, "<s>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    words.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"])
    words.save(str(tmp_path / "tokenizer.json"))
    found = means_of(Judging(), None, None, lambda said: None, tmp_path)
    assert found.token_ids
    assert len(found.token_ids("five five")) == 2
    found.close()


@pytest.mark.parametrize(("raising", "by_rules"), [("none of them", 1), ("answer", 0), ("tool", 0)])
def test_a_row_needs_what_any_kind_of_reply_needs(raising: str, by_rules: int, tmp_path: Path) -> None:
    """Of a reward that needs a column for one kind of reply alone, no row without it is scored by rules."""
    (tmp_path / "mine.py").write_text(
        "from virc.rewards.means import UnscoredError\n\nTERMS = ('mine',)\n\n\ndef mine(sample, means):\n"
        f"    if sample.kind == {raising!r}:\n        raise UnscoredError('needs stars')\n    return 1.0\n\n\n"
        "def total(t):\n    return t.mine\n"
    )
    total = rewards.find(str(tmp_path / "mine.py"))
    found = without_judge([prompt(strict="own").record], total, "pixel")
    assert (found.rows, found.by_rules, found.why) == (1, by_rules, {} if by_rules else {"mine": "needs stars"})


@pytest.mark.parametrize(
    ("means", "waits"), [(Means(), False), (judged("1"), True), (Means(judges={"critic": ScriptedJudge("1")}), True)]
)
def test_a_term_that_asks_any_judge_waits(means: Means, waits: bool) -> None:
    async def mine(sample: Any, means: Means) -> float:
        return 1.0

    given = rewards.find("rules")
    term = rewards.Term("mine", mine, "", Path())
    total, costs = timed(rewards.Total("t", [term], lambda t: t.mine, "", given.file))
    assert asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), total, means)).total == 1
    assert [(cost.term, cost.replies, cost.waits) for cost in costs] == [("mine", 1, waits)]


THREE = ((280, 196), (84, 84), (56, 84))


@pytest.mark.parametrize(("index", "meant"), [(0, 0), (2, 2), (-1, 2), (-2, 1), (-3, 0)])
def test_published_checks_count_a_negative_index_from_the_end(index: int, meant: int) -> None:
    read = sample(tool(scaled(2, index)), prompt(THREE))
    assert (read.fault, read.call and read.call.index) == (None, meant)


@pytest.mark.parametrize("index", [3, -4])
def test_published_checks_know_no_image_beyond_the_history(index: int) -> None:
    read = sample(tool(scaled(2, index)), prompt(THREE))
    assert (read.call, read.raised) == (None, index < 0)
