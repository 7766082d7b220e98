"""What holds whatever server judges: bounds of what it is shown and says, and the time that it takes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import picture, prompt, tool
from rewards.prompts import scale as scaled

from virc.core.errors import NetworkError
from virc.data.rows.record import MARK
from virc.reasoning.images import Shown, open_image
from virc.reasoning.session import Ask, Message
from virc.rewards.judging import MAX_TEXT, SAMPLING, WAITED, Exchange, Verdict, Waited, questions
from virc.rewards.means import JUDGE_KEY, means_of
from virc.rewards.published import read_verdict
from virc.rewards.sample import sample
from virc.rewards.scripted import ScriptedJudge
from virc.systems.registry import Judging


@pytest.mark.parametrize("length", [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1, 10 * MAX_TEXT])
def test_a_judge_is_shown_the_beginning_of_each_text(length: int) -> None:
    judge = ScriptedJudge(r"\boxed{1}")
    texts = {"question": "q" * length, "reference": "5", "answer": "a" * length}
    assert asyncio.run(judge.ask("answer", texts, (), read_verdict)).value == 1
    shown = judge.asked[0].messages[-1].text.splitlines()[-1]
    assert (shown.count("q" * 100), shown.count("a" * 100)) == (min(length, MAX_TEXT) // 100,) * 2


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


THREE = ((280, 196), (84, 84), (56, 84))


@pytest.mark.parametrize(("index", "meant"), [(0, 0), (2, 2), (-1, 2), (-2, 1), (-3, 0)])
def test_published_checks_count_a_negative_index_from_the_end(index: int, meant: int) -> None:
    read = sample(tool(scaled(2, index)), prompt(THREE))
    assert (read.fault, read.call and read.call.index) == (None, meant)
