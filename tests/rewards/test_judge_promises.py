"""What holds whatever server judges: bounds of what it is shown and says, and the time that it takes."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rewards.prompts import answer, picture, prompt, tool
from rewards.prompts import scale as scaled
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from virc.backends.openai.link import Link
from virc.core.errors import NetworkError
from virc.data.rows.record import MARK
from virc.reasoning.images import Shown, open_image
from virc.reasoning.session import Ask, Message
from virc.rewards import registry as rewards
from virc.rewards.judging import MAX_TEXT, SAMPLING, WAITED, Exchange, Judge, Verdict, Waited, questions, read_cosine
from virc.rewards.means import JUDGE_KEY, Means, means_of
from virc.rewards.needs import Scorable, without_judge
from virc.rewards.published import read_verdict
from virc.rewards.sample import Strict, sample
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


URL = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(("back", "patience"), [(20.0, 60.0), (1e9, 10.0)])
def test_all_questions_wait_once_for_a_judge_that_is_away(
    back: float, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away for 20 s, or for longer than anybody waits; the clock is that of the pauses."""
    clock = SimpleNamespace(now=0.0, asked=0)
    said, pause = list[str](), asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await pause(0)

    def reply(ask: Ask, sampling: object) -> Any:
        clock.asked += 1
        if clock.now < back:
            raise NetworkError("it is away", "--endpoint URL")
        return SimpleNamespace(text=r"\boxed{1}")

    monkeypatch.setattr("virc.rewards.judging.asyncio.sleep", sleep)
    monkeypatch.setattr("virc.rewards.judging.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(Link, "answers", lambda link: clock.now >= back)
    judge = Judge(URL, on_wait=said.append, patience=patience)
    backend = SimpleNamespace(kind="other", model="m", reply=reply)
    monkeypatch.setattr(judge, "_open", lambda: backend)

    async def several(count: int) -> list[Any]:
        asks = (Ask((Message("user", f"{number}?"),), ()) for number in range(count))
        verdicts = (judge.verdict("own", ask, SAMPLING, 1, read_verdict) for ask in asks)
        return await asyncio.gather(*verdicts, return_exceptions=True)

    found, end, asked = asyncio.run(several(5)), clock.now, clock.asked
    assert said[0] == f"it is away; questions to the judge wait until it answers, {patience:g} s at most"
    if back < patience:
        assert [each.value for each in found] == [1.0] * 5
        assert said[1:] == [f"the judge answers again, after {judge.counts.away:.0f} s"]
        assert back <= judge.counts.away <= back + 15
        return
    assert len(said) == 1
    assert {str(each) for each in found} == {"the judge gave no answer for 10 s: it is away"}
    assert {each.hint for each in found} == {"--judge-endpoint URL"}
    assert patience <= end < 2 * patience
    (later,) = asyncio.run(several(1))
    assert (type(later), clock.asked, clock.now) == (NetworkError, asked, end)  # nobody waits again


@pytest.mark.parametrize("kind", ["vllm", "other"])
def test_a_likeness_is_that_of_both_texts_each_of_which_is_kept(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors (3, 4) and (-4, -3), of length 5, have the product -24."""
    drawn, closed = list[tuple[str, str, bool]](), list[str]()
    judge = Judge(URL, kept=tmp_path)

    def embedding(model: str, text: str, truncate: bool) -> list[float]:
        drawn.append((model, text, truncate))
        return [3.0, 4.0] if text == "cat" else [-4.0, -3.0]

    monkeypatch.setattr(judge._link, "embedding", embedding)
    monkeypatch.setattr(judge._link, "close", partial(closed.append, "link"))
    backend = SimpleNamespace(kind=kind, model="m", close=partial(closed.append, "backend"))
    monkeypatch.setattr(judge, "_open", lambda: backend)

    async def both_ways() -> list[Verdict]:
        long = "x" * (MAX_TEXT + 9)
        return [await judge.similarity("near", *pair) for pair in ((" cat\n", long), (long, "cat"))]

    first, second = asyncio.run(both_ways())
    judge.close()
    assert (first.value, first.why) == (pytest.approx(-0.96), "a cosine of -0.960")
    assert second == first
    assert drawn == [("m", "cat", kind == "vllm"), ("m", "x" * MAX_TEXT, kind == "vllm")]
    assert (judge.counts.asked, judge.counts.kept, sorted(closed)) == (2, 2, ["backend", "link"])


def test_what_was_asked_and_said_is_known_with_every_try() -> None:
    long = f"It begins. {'x' * 300} so \\boxed{{1}}"
    replies, heard = iter(["hm", long, "hm"]), list[str]()

    def says(text: str) -> str:
        heard.append(text)
        if text == "Away?":
            raise NetworkError("it is away")
        return next(replies)

    judge, waited = ScriptedJudge(says), Waited([])
    shown = Shown(open_image(picture((56, 56)).read(), "it"))
    texts = (Message("system", "You judge."), Message("user", "See , so?", (0,), at=(4,)))

    async def both() -> list[Verdict]:
        WAITED.set(waited)
        asks = Ask(texts, [shown]), Ask((Message("user", "And?"),), ()), Ask((Message("user", "Away?"),), ())
        found = [
            await judge.verdict("own", asks[0], SAMPLING, 3, read_verdict),
            await judge.verdict("other", asks[1], SAMPLING, 1, read_verdict),
        ]
        with pytest.raises(NetworkError):
            await judge.verdict("none", asks[2], SAMPLING, 1, read_verdict)
        return found

    first, second = asyncio.run(both())
    assert (first.value, second) == (1.0, Verdict(0.0, "the judge gave no score in 1 try"))
    assert "begins" not in first.why  # its end says why
    assert heard == ["See , so?", "See , so?", "And?", "Away?"]  # a scripted judge hears the question alone
    assert waited.said == [
        Exchange("own", f"See {MARK}, so?", ("hm", long)), Exchange("other", "And?", ("hm",)),
    ]  # fmt: skip
    assert (waited.asked, waited.unread, waited.scores, judge.counts.unread) == (3, 1, [1.0], 1)


def test_each_judge_is_asked_as_its_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[tuple[Any, ...]]()

    def judge(endpoint: str, model: str | None, key: str | None, **options: Any) -> ScriptedJudge:
        made.append((endpoint, model, key, *(options[name] for name in ("at_once", "timeout", "patience", "kept"))))
        assert options["on_wait"] is print
        made[-1] += (options["asked"],)
        return ScriptedJudge("")

    (tmp_path / "asked.yaml").write_text("focus: 'Is {answer} so?'\n")
    monkeypatch.setattr("virc.rewards.means.Judge", judge)
    monkeypatch.setenv(f"{JUDGE_KEY}_A_B", "sk-b")
    own = Judging("http://one:1/v1", "m", 3, 7, 8, str(tmp_path / "asked.yaml"))
    found = means_of(own, "sk-own", tmp_path, print, None, {"a-b": Judging("http://two:2/v1"), "none": Judging()})
    assert made == [
        ("http://two:2/v1", None, "sk-b", 32, 120, 600, tmp_path, None),
        ("http://one:1/v1", "m", "sk-own", 3, 7, 8, tmp_path, {**questions(), "focus": "Is {answer} so?"}),
    ]
    assert found.judges.keys() == {"a-b"}


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


def test_rows_that_rules_can_score_are_counted_over_files(tmp_path: Path) -> None:
    """Of two rows, one has the column that the reward needs; where there is the judge, that is all it needs."""
    (tmp_path / "mine.py").write_text(
        "from virc.rewards.means import UnscoredError\n\nTERMS = ('mine',)\n\n\ndef mine(sample, means):\n"
        "    if 'stars' not in sample.prompt.columns:\n        raise UnscoredError('needs stars')\n"
        "    means.asked('critic')\n    return 1.0\n\n\ndef total(t):\n    return 1 / t.mine\n"
    )
    total = rewards.find(str(tmp_path / "mine.py"))
    rows = [prompt(strict="own").record, prompt(strict="own", stars=3).record]
    found = without_judge(rows, total, "pixel", judges=["critic"])
    assert (found.rows, found.by_rules, found.share) == (2, 1, 0.5)
    assert (found.lacking, found.why) == ({"mine": 1}, {"mine": "needs stars"})
    other = without_judge(rows, total, "pixel")
    assert (other.by_rules, other.lacking, other.why) == (0, {"mine": 2}, {"mine": "needs a judge, critic"})
    found.add(other)
    assert (found.rows, found.by_rules, found.lacking, found.why) == (4, 1, {"mine": 3}, other.why)
    assert Scorable().share == 0


@pytest.mark.parametrize(
    ("means", "waits"), [(Means(), False), (judged("1"), True), (Means(judges={"critic": ScriptedJudge("1")}), True)]
)
def test_a_term_that_asks_any_judge_waits(means: Means, waits: bool) -> None:
    async def mine(sample: Any, means: Means) -> float:
        return 1.0

    given = rewards.find("rules")
    term = rewards.Term("mine", mine, "", Path())
    total, costs = timed(rewards.Total("t", [term], lambda t: t.mine, "", given.file))
    for _ in range(2):
        assert asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), total, means)).total == 1
    assert [(cost.term, cost.replies, cost.waits) for cost in costs] == [("mine", 2, waits)]


def test_what_the_published_program_raises_at_needs_no_judge() -> None:
    """Without the reference's tool it raises at every tool call, which is worth 0 then."""
    row = prompt(reference_tool=None).record
    kinds: tuple[Strict, ...] = ("own", "published")
    found = [without_judge([row], rewards.find("virc"), "pixel", strict) for strict in kinds]
    assert [(each.by_rules, each.lacking) for each in found] == [(0, {"reasoning": 1, "focus": 1}), (1, {})]


THREE = ((280, 196), (84, 84), (56, 84))


@pytest.mark.parametrize(("index", "meant"), [(0, 0), (2, 2), (-1, 2), (-2, 1), (-3, 0)])
def test_published_checks_count_a_negative_index_from_the_end(index: int, meant: int) -> None:
    read = sample(tool(scaled(2, index)), prompt(THREE))
    assert (read.fault, read.call and read.call.index) == (None, meant)


@pytest.mark.parametrize("index", [3, -4])
def test_published_checks_know_no_image_beyond_the_history(index: int) -> None:
    read = sample(tool(scaled(2, index)), prompt(THREE))
    assert (read.call, read.raised) == (None, index < 0)
