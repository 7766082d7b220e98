"""Which judge a reward asks, with which key, about what, and what of its replies is kept, by what a server gets."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, crop, picture, prompt, tool
from support.scripted_judge import ScriptedJudge, judged
from support.servers import serve

from virc.backends.interface import Sampling
from virc.data.rows.record import Picture
from virc.reasoning.images import Shown, open_image
from virc.reasoning.session import Ask, Message
from virc.rewards import registry as rewards
from virc.rewards.context import JUDGE_KEY, RewardContext, context_of
from virc.rewards.judging import MAX_TEXT, Judge
from virc.rewards.published import read_verdict
from virc.rewards.question import Question, yes_no
from virc.rewards.sample import Prompt, sample
from virc.scoring.symbolic import Symbolic
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
        *(pytest.param("v_thinker", *case, marks=pytest.mark.integration)  # a process reads answers
          for case in (("5", "own", 0), ("2+3", "own", 0), ("five", "own", 1))),
        ("vlm_r3", "5", "own", 0), ("vlm_r3", "five", "own", 1),
    ],
)  # fmt: skip
def test_no_judge_is_asked_about_what_is_known_to_be_right(total: str, said: str, strict: str, asked: int) -> None:
    context = RewardContext(judge=ScriptedJudge(r"{'Correctness': 1} \boxed{1}"), symbolic=Algebra("2+3"))
    known = prompt(strict="published" if strict == "published" else "own")
    term = next(each for each in rewards.find(total).terms if each.name in ("answer", "right"))
    asyncio.run(_one(term, answer(said), known, context))
    assert isinstance(context.judge, ScriptedJudge)
    assert len({ask.messages[-1].text for ask in context.judge.asked}) == asked


async def _one(term: rewards.Term, reply: str, known: Prompt, context: RewardContext) -> object:
    found = term.score(sample(reply, known), context)
    return found if isinstance(found, int | float | None) else await found


def test_each_judge_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JUDGE_KEY, "sk-common")
    monkeypatch.setenv(f"{JUDGE_KEY}_SMALL_ONE", "sk-small")
    monkeypatch.delenv(f"{JUDGE_KEY}_THIRD", raising=False)
    keys = []
    for name in (None, "small-one", "third"):
        with serve(lambda body: "yes") as server:
            named = {name: Judging(server.url)} if name else {}
            context = context_of(Reward(judge=Judging(None if name else server.url), judges=named), None, print)
            question = Question("{answer}?", yes_no, judge=name or "judge")
            assert asyncio.run(question.score(sample(answer("5"), prompt(strict="own")), context, "own")) == 1
            context.close()
            keys.append({request.headers.get("authorization") for request in server.requests})
    assert keys == [{"Bearer sk-common"}, {"Bearer sk-small"}, {None}]


@pytest.mark.parametrize("is_given", [False, True])
def test_what_a_judge_is_shown_was_cut_from_the_picture_as_the_model_saw_it(is_given: bool) -> None:
    """A small picture is shown larger: the same box of its file is another part of it."""
    file = io.BytesIO()
    page = Image.new("RGB", (40, 30), "black")
    page.paste("white", (20, 0, 40, 30))
    page.save(file, "PNG")
    record = msgspec.structs.replace(prompt().record, images=(Picture("", data=file.getvalue()),))
    shown = (Shown(page.resize((168, 112))),) if is_given else ()
    known, context = Prompt(record, shown=shown, files=(page.size,) if is_given else ()), judged("yes")
    [(width, height)] = known.view.sizes
    assert width >= 84
    reply = tool(crop(width // 2, 0, width, height))
    asyncio.run(Question("{result}", yes_no).score(sample(reply, known), context, "own"))
    assert isinstance(context.judge, ScriptedJudge)
    (image,) = context.judge.asked[0].images
    assert image.pixels.resize((4, 1)).getpixel((1, 0)) >= (250,) * 3  # type: ignore[operator]


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
        verdicts(server.url, tmp_path, ("a?", [shown(9)], WARM), other)
        assert len(server.chats()) == drawn


@pytest.mark.parametrize("length", [MAX_TEXT, MAX_TEXT + 1])
def test_a_judge_is_shown_the_beginning_of_each_text(length: int) -> None:
    judge = ScriptedJudge(r"\boxed{1}")
    texts = {"question": "q" * length, "reference": "5", "answer": "a" * length}
    assert asyncio.run(judge.ask("answer", texts, (), read_verdict)).value == 1
    shown = judge.asked[0].messages[-1].text.splitlines()[-1]
    assert (shown.count("q" * 100), shown.count("a" * 100)) == (min(length, MAX_TEXT) // 100,) * 2
