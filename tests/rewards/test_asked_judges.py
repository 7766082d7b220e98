"""Which judge a reward asks, with which key, about what, and what of its replies is kept, by what a server gets."""

import asyncio
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, crop, picture, prompt, tool
from support.servers import dead_url, serve

from virc.backends.interface import Sampling
from virc.backends.openai.link import Link
from virc.core.errors import NetworkError
from virc.core.events import Reporter
from virc.data.rows.record import Picture
from virc.reasoning.calls import Call, Result
from virc.reasoning.images import Shown, open_image
from virc.reasoning.session import Ask, Message
from virc.rewards import judging, pictures, trial
from virc.rewards import registry as rewards
from virc.rewards.judging import MAX_TEXT, WAITED, Judge, Verdict, Waited
from virc.rewards.means import JUDGE_KEY, Means, UnscoredError, key_of, means_of
from virc.rewards.published import read_verdict
from virc.rewards.question import Question, yes_no
from virc.rewards.sample import Prompt, sample
from virc.rewards.scripted import ScriptedJudge, judged
from virc.rewards.trial import judged_reward
from virc.scoring.symbolic import Symbolic
from virc.systems import texts
from virc.systems.registry import Judging, Reward


class Algebra(Symbolic):
    """Finds some texts equal, without a process."""

    def __init__(self, *equal: str) -> None:
        self._texts = equal

    def same(self, answer: str, reference: str) -> bool:
        return answer in self._texts


@pytest.mark.parametrize(
    ("total", "said", "strict", "asked"),
    [
        ("virc", "5", "own", 0), ("virc", "five", "own", 1), ("virc", "2+3", "own", 0),
        ("virc", "5", "published", 1), ("virc", "2+3", "published", 1),
        ("v_thinker", "5", "own", 0), ("v_thinker", "2+3", "own", 0), ("v_thinker", "five", "own", 1),
        ("thyme", "5", "own", 0), ("vlm_r3", "5", "own", 0), ("vlm_r3", "five", "own", 1),
    ],
)  # fmt: skip
def test_no_judge_is_asked_about_what_is_known_to_be_right(total: str, said: str, strict: str, asked: int) -> None:
    means = Means(judge=ScriptedJudge(r"{'Correctness': 1} \boxed{1}"), symbolic=Algebra("2+3"))
    known = prompt(strict="published" if strict == "published" else "own")
    term = next(each for each in rewards.find(total).terms if each.name in ("answer", "right"))
    asyncio.run(_one(term, answer(said), known, means))
    assert isinstance(means.judge, ScriptedJudge)
    assert len({ask.messages[-1].text for ask in means.judge.asked}) == asked


def test_a_judge_is_shown_all_accepted_answers() -> None:
    means = Means(judge=ScriptedJudge(r"{'Correctness': 1} \boxed{1}"))
    known = prompt(strict="own", answers=["5", "five"])
    term = next(each for each in rewards.find("virc").terms if each.name == "answer")
    asyncio.run(_one(term, answer("7"), known, means))
    asyncio.run(Question("{reference}? {answer}", yes_no).score(sample(answer("7"), known), means, "own"))
    assert isinstance(means.judge, ScriptedJudge)
    first, *_, last = (ask.messages[-1].text for ask in means.judge.asked)
    assert "5 or five" in first
    assert last.startswith("5 or five? 7")
    unknown = Prompt(msgspec.structs.replace(known.record, answer=None, extra={}), strict="own")
    asyncio.run(Question("({reference}) {answer}?", yes_no).score(sample(answer("7"), unknown), means, "own"))
    assert means.judge.asked[-1].messages[-1].text == "() 7?"


async def _one(term: rewards.Term, reply: str, known: Prompt, means: Means) -> object:
    found = term.score(sample(reply, known), means)
    return found if isinstance(found, int | float | None) else await found


def test_each_judge_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JUDGE_KEY, "sk-common")
    monkeypatch.setenv(f"{JUDGE_KEY}_SMALL_ONE", "sk-small")
    monkeypatch.delenv(f"{JUDGE_KEY}_THIRD", raising=False)
    keys = []
    for name in (None, "small-one", "third"):
        with serve(lambda body: "yes") as server:
            named = {name: Judging(server.url)} if name else {}
            means = means_of(Judging(None if name else server.url), key_of(), None, print, None, named)
            question = Question("{answer}?", yes_no, judge=name or "judge")
            assert asyncio.run(question.score(sample(answer("5"), prompt(strict="own")), means, "own")) == 1
            means.close()
            keys.append({request.headers.get("authorization") for request in server.requests})
    assert keys == [{"Bearer sk-common"}, {"Bearer sk-small"}, {None}]


def test_a_judge_that_is_not_named_is_replaced_by_no_other() -> None:
    question = Question("{answer}?", yes_no, judge="critic")
    means = judged("yes", other="yes")
    with pytest.raises(UnscoredError, match="needs a judge, critic"):
        asyncio.run(question.score(sample(answer("5"), prompt(strict="own")), means, "own"))


def test_a_lacking_judge_is_said_before_lacking_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(texts.OWN_WORDS, "")
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path))
    for name in ("mini_o3", "grit"):
        found = asyncio.run(rewards.score(sample(answer("5"), prompt(strict="own")), rewards.find(name), Means()))
        assert "needs a judge" in found.unscored.values()


def test_all_judges_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Judge] = []

    def close(judge: Judge) -> None:
        closed.append(judge)

    monkeypatch.setattr(Judge, "close", close)
    means = judged("yes", critic="no", other="no")
    means.close()
    assert closed == [means.judge, *means.judges.values()]


@pytest.mark.parametrize(
    ("judge", "named", "keeps"), [(None, None, False), ("http://a:1/v1", None, True), (None, "http://b:1/v1", True)]
)
def test_what_any_judge_says_is_kept_for_the_next_time(
    judge: str | None, named: str | None, keeps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(trial, "means_of", lambda *each: given.append(each) or Means())
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path))
    monkeypatch.setenv(JUDGE_KEY, "sk-own")
    reward, report = Reward("virc", judge=Judging(judge), judges={"b": Judging(named)}), Reporter()
    trial.means_here(reward, report, tmp_path / "base")
    kept = tmp_path / "judged" if keeps else None
    assert given == [(reward.judge, "sk-own", kept, report.warn, tmp_path / "base", reward.judges)]


def test_an_endpoint_is_that_of_the_judge_it_is_given_for(tmp_path: Path) -> None:
    judges = "{one: {endpoint: http://one:1/v1}, two: {endpoint: http://two:1/v1}}"
    (tmp_path / "mine.yaml").write_text(f"name: mine\nreward: {{total: outcome, judges: {judges}}}\n")
    _, reward, _ = judged_reward(str(tmp_path / "mine.yaml"), None, None, {"two": "http://three:1/v1"})
    assert {name: each.endpoint for name, each in reward.judges.items()} == {
        "one": "http://one:1/v1", "two": "http://three:1/v1",
    }  # fmt: skip
    assert reward.judge.endpoint is None


@pytest.mark.parametrize("text", ["{reply}", "{row.long}", "{thought}"])
def test_a_long_text_is_cut_before_it_is_asked_about(text: str) -> None:
    means = judged("yes")
    known = prompt(strict="own", long="ab " * MAX_TEXT)
    reply = answer("5", think=" ".join(map(str, range(MAX_TEXT))))
    asyncio.run(Question(text, yes_no).score(sample(reply, known), means, "own"))
    assert isinstance(means.judge, ScriptedJudge)
    assert len(means.judge.asked[0].messages[-1].text) == MAX_TEXT


@pytest.mark.parametrize(
    ("place", "reply", "strict", "parts", "sizes"),
    [
        ("{image}", answer("5"), "own", [0], [(308, 196, 0)]),
        ("{images}", answer("5"), "own", [0, 1], [(308, 196, 0), (140, 84, 40)]),
        ("{image}", answer("5"), "published", [0], [(308, 196, 0)]),  # checked at 300 x 200
        ("{crops}", answer("5"), "own", [0, 1], [(84, 112, 80), (112, 84, 120)]),
        ("{image_2}", answer("5"), "own", [0], [(84, 112, 80)]),
        ("At {image_3}, {images}.", answer("5"), "own", ["At ", 0, ", ", 1, 2, "."],
         [(112, 84, 120), (308, 196, 0), (140, 84, 40)]),
        ("{result}", tool(crop(0, 0, 84, 84, index=2)), "own", [0], [(84, 84, 80)]),
        ("{result}", tool(crop(0, 0, 168, 84)), "own", [0], [(168, 84, 0)]),
        ("{result}", tool(crop(0, 0, 84, 84, index=3)), "published", [0], [(84, 84, 120)]),
    ],
)  # fmt: skip
def test_a_judge_sees_pictures_as_the_model_did(
    place: str, reply: str, strict: Any, parts: list[str | int], sizes: list[tuple[int, int, int]]
) -> None:
    """Two inputs and two crops; a picture is known by its size and its shade."""
    means = judged("yes")
    before = [tool(crop(0, 0, 84, 112)), tool(crop(0, 0, 112, 84))]
    known = prompt([(300, 200), (140, 84), (84, 112), (112, 84)], before=before, strict=strict)
    asyncio.run(Question(place, yes_no).score(sample(reply, known), means, "own"))
    assert isinstance(means.judge, ScriptedJudge)
    (ask,) = means.judge.asked
    assert [*ask.messages[-1].parts()] == parts
    assert [(*image.size, image.pixels.getpixel((9, 9))) for image in ask.images] == [
        (width, height, (shade, shade, 200)) for width, height, shade in sizes
    ]


@pytest.mark.parametrize("is_given", [False, True])
def test_what_a_judge_is_shown_was_cut_from_the_picture_as_the_model_saw_it(is_given: bool) -> None:
    """A small picture is shown larger: the same box of its file is another part of it."""
    file = io.BytesIO()
    page = Image.new("RGB", (40, 30), "black")
    page.paste("white", (20, 0, 40, 30))
    page.save(file, "PNG")
    record = msgspec.structs.replace(prompt().record, images=(Picture("", data=file.getvalue()),))
    shown = (Shown(page.resize((168, 112))),) if is_given else ()
    known, means = Prompt(record, shown=shown, files=(page.size,) if is_given else ()), judged("yes")
    [(width, height)] = known.view.sizes
    assert width >= 84
    reply = tool(crop(width // 2, 0, width, height))
    asyncio.run(Question("{result}", yes_no).score(sample(reply, known), means, "own"))
    assert isinstance(means.judge, ScriptedJudge)
    (image,) = means.judge.asked[0].images
    assert image.pixels.resize((4, 1)).getpixel((1, 0)) >= (250,) * 3  # type: ignore[operator]


@pytest.mark.parametrize(
    ("made", "says"), [("text", "leads to no single image"), (Result("text"), "leads to no single image"), (None, None)]
)
def test_a_call_that_makes_no_picture_shows_a_judge_none(
    made: Any, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made or Image.new("RGB", (56, 84))
    tool_ = SimpleNamespace(apply=lambda call, pixels: made)
    monkeypatch.setattr(pictures.tools, "get", lambda name: tool_)
    call = Call("crop_image", 0, (0, 0, 28, 28))
    if says is None:
        assert pictures.result(call, prompt(strict="own")).size == (56, 84)
        return
    with pytest.raises(ValueError, match=says):
        pictures.result(call, prompt(strict="own"))
    with pytest.raises(ValueError, match="it is applied to no image"):
        pictures.result(Call("crop_image"), prompt(strict="own"))


ONE = r"It is right. \boxed{1}"
WARM = Sampling(temperature=1.0, max_tokens=64)


def shown(shade: int) -> Shown:
    return Shown(open_image(picture((56, 56), shade).read(), "it"))


def verdicts(url: str, kept: Path, *asks: tuple[str, Sequence[Shown], Sampling], model: str | None = None) -> Judge:
    """A judge that was asked these, one after the other, each in two tries."""

    async def all_of_them(judge: Judge) -> None:
        for text, images, sampling in asks:
            await judge.verdict("own", Ask((Message("user", text),), images), sampling, 2, read_verdict)
        judge.close()

    judge = Judge(url, model, kept=kept)
    asyncio.run(all_of_them(judge))
    return judge


@pytest.mark.parametrize(
    ("other", "drawn"),
    [
        (("a?", [shown(9)], WARM), 1),
        (("b?", [shown(9)], WARM), 2),
        (("a?", [shown(10)], WARM), 2),
        (("a?", [], WARM), 2),
        (("a?", [shown(9)], Sampling(temperature=0.5, max_tokens=64)), 2),
    ],
    ids=["same", "text", "picture", "no picture", "temperature"],
)
def test_a_kept_reply_is_that_of_the_same_question(
    other: tuple[str, Sequence[Shown], Sampling], drawn: int, tmp_path: Path
) -> None:
    with serve(lambda body: ONE) as server:
        judge = verdicts(server.url, tmp_path, ("a?", [shown(9)], WARM), other)
        assert (len(server.chats()), judge.counts.asked, judge.counts.kept) == (drawn, drawn, 2 - drawn)


def test_each_try_has_a_kept_reply_of_its_own(tmp_path: Path) -> None:
    said = iter(["hm", ONE])
    with serve(lambda body: next(said), models=("a", "b")) as server:
        for _ in range(2):
            judge = verdicts(server.url, tmp_path, ("a?", [], WARM), model="a")
        assert (len(server.chats()), judge.counts.kept, judge.counts.unread) == (2, 2, 0)


def test_a_question_without_a_score_is_0_and_counted() -> None:
    async def asked(judge: Judge) -> tuple[Verdict, int]:
        WAITED.set(waited := Waited())
        found = await judge.ask("answer", {"question": "a", "reference": "b", "answer": "c"}, (), read_verdict)
        return found, waited.unread

    judge = ScriptedJudge("no verdict")
    found, unread = asyncio.run(asked(judge))
    assert (found.value, unread, judge.counts.unread, len(judge.asked)) == (0.0, 1, 1, 4)


def test_a_judge_that_fails_is_asked_again_after_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = 1000.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += max(seconds, 0.01)

    monkeypatch.setattr(judging.asyncio, "sleep", sleep)
    monkeypatch.setattr(judging.time, "monotonic", lambda: now)
    monkeypatch.setattr(Link, "answers", lambda self: True)
    judge = Judge(dead_url(), patience=60)
    monkeypatch.setattr(judge, "_open", partial(_refused, "503"))
    with pytest.raises(NetworkError, match="the judge gave no answer for 60 s: 503"):
        asyncio.run(judge.verdict("own", Ask((Message("user", "a?"),), ()), WARM, 1, read_verdict))
    assert len(pauses) < 12
    assert pauses[0] <= 0.5
    assert all(later >= 11 for later in pauses[6:])
    assert max(pauses) <= 15


def _refused(sentence: str) -> None:
    raise NetworkError(sentence)


@pytest.mark.parametrize("is_away", [True, False])
def test_an_outage_of_the_judge_is_no_score(is_away: bool) -> None:
    def fails(body: object) -> str:
        raise OSError

    with serve(fails) as server:
        judge = Judge(dead_url() if is_away else server.url, patience=0)
        with pytest.raises(NetworkError, match="the judge gave no answer for 0 s"):
            asyncio.run(judge.verdict("own", Ask((Message("user", "a?"),), ()), WARM, 1, read_verdict))
        judge.close()


def test_a_judge_sees_a_picture_scaled_from_its_own_size() -> None:
    asked = prompt(((280, 196), (140, 84)), strict="own")
    alone = prompt(((140, 84),), strict="own")
    first, second = (Call("scale_image", index, factor=2.0) for index in (0, 1))
    assert pictures.result(second, asked).size == pictures.result(first, alone).size
