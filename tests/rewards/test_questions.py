"""A question in a reward file: what the judge is shown, how its reply is read, and who is asked."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rewards.prompts import answer, call, crop, prompt, tool
from support.called import virc
from support.servers import images_of, serve

from virc.core.errors import ConfigError
from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import trial
from virc.rewards.means import Means, UnscoredError
from virc.rewards.question import Asks, Question, Reading, asks, choice, field, grade, published, yes_no
from virc.rewards.sample import prompt_of, sample
from virc.rewards.scripted import ScriptedJudge, judged
from virc.systems import texts
from virc.systems.registry import Judging, Reward

GRADE = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number", "maximum": 10}}}


@pytest.mark.parametrize(
    ("read", "reply", "value"),
    [
        (yes_no, "Yes", 1), (yes_no, "**No.** It does not.", 0), (yes_no, "I think so, the answer is: yes.", 1),
        (yes_no, r"Yes? Not at all: \boxed{no}", 0), (yes_no, "Nothing can be said", None), (yes_no, "", None),
        (grade(0, 10), r"\boxed{5}", 0.5), (grade(0, 10), "Score: 8/10", 0.8), (grade(1, 5), "I give it a 5.", 1),
        (grade(0, 10), "3 faults of 4 parts\nso 2.5", 0.25), (grade(0, 1), "1.5", None), (grade(0, 1), "much", None),
        (grade(1, 5), "0", None), (grade(-1, 1), "-1", 0), (grade(0, 10), "10", 1), (grade(0, 100), "85%", 0.85),
        (choice({"A": 1, "B": 0.5, "C": 0}), "(b)", 0.5), (choice({"A": 1, "B": 0.5}), "It is A", 1),
        (choice({"A": 1, "B": 0.5}), "D", None), (choice({"A": 1, "B": 0}), r"A or B: \boxed{B}", 0),
        (field(GRADE, "score"), '```json\n{"score": 7, "why": "good"}\n```', 7), (field(GRADE, "score"), "7", None),
        (field(GRADE, "score"), '{"score": 11}', None), (field(GRADE, "score"), '{"score": "7"}', None),
        (field(GRADE, lambda found: found["score"] / 10), 'So: {"score": 7}.', 0.7),
        (grade(1, 5), "4 out of 5", 0.75), (grade(1, 5), "Score: 4 of 5", 0.75), (grade(1, 5), "3 or 4", None),
        (grade(1, 5), "Score: 4 (on a scale of 1-5)", 0.75), (grade(1, 5), "From 1 to 5: 2", 0.25),
        (yes_no, r"\boxed{no}, but rather \boxed{yes}", 1), (grade(0, 10), r"\boxed{2}? No, \boxed{5}.", 0.5),
        (yes_no, r"\boxed{\text{Yes}}", 1), (yes_no, "No doubt: yes", None), (yes_no, "no, no, no", 0),
        (field({}, "score"), "{}", None), (field({}, "score"), '{"score": "x"}', None),
        (field({}, "score"), '{"score": NaN}', None), (field({}, "score"), '{"score": null}', None),
        (field({}, "score"), '{"score": 1e999}', None), (field({}, "score"), '{"score": ' + "9" * 5000 + "}", None),
        (field({}, lambda found: 1 / found["score"]), '{"score": 0}', None), (field({}, len), "no object", None),
    ],
)  # fmt: skip
def test_a_reply_is_read_as_it_is_meant(read: Reading, reply: str, value: float | None) -> None:
    found = read(reply)
    assert found == (None if value is None else pytest.approx(value))


def scored(question: Question, reply: str, means: Means, **known: Any) -> tuple[float | None, ScriptedJudge]:
    found = asyncio.run(question.score(sample(reply, prompt(strict="own", **known)), means, "own"))
    assert isinstance(means.judge, ScriptedJudge)
    return found, means.judge


def test_texts_and_pictures_stand_where_their_places_are() -> None:
    question = Question('First {image}, then {row.hint}: {thought}. Again {image_0}. JSON: {"a": 1}, {{kept}}', yes_no)
    value, judge = scored(question, answer("5", "I see"), judged("yes"), hint={"at": [1, 2]})
    assert value == 1
    (ask,) = judge.asked
    message = ask.messages[-1]
    assert [*message.parts()] == [
        "First ", 0, ', then {"at":[1,2]}: I see. Again ', 1, '. JSON: {"a": 1}, {kept}',
    ]  # fmt: skip
    assert [image.size for image in ask.images] == [(280, 196), (280, 196)]


@pytest.mark.parametrize(
    ("text", "reply", "asked"),
    [
        ("{answer}?", answer("5"), True), ("{answer}?", tool(crop(0, 0, 90, 90)), False),
        ("{result}?", tool(crop(0, 0, 90, 90)), True), ("{result}?", answer("5"), False),
        ("{thought}?", answer("5"), True), ("{thought}?", tool(crop(0, 0, 90, 90)), True),
        ("{thought}?", "no marks", False),
    ],
)  # fmt: skip
def test_a_question_is_about_replies_that_have_what_it_names(text: str, reply: str, asked: bool) -> None:
    value, judge = scored(Question(text, yes_no), reply, judged("no"))
    assert (value, len(judge.asked)) == ((0, 1) if asked else (None, 0))
    if "{result}" in text and asked:
        assert judge.asked[0].images[0].size == (84, 84)


@pytest.mark.parametrize(("of", "asked"), [("answer", [1, 0, 0]), ("tool", [0, 1, 0]), ("any", [1, 1, 0])])
def test_a_question_may_say_which_replies_it_is_about(of: Any, asked: list[int]) -> None:
    question, replies = Question("{answer}: {thought}?", yes_no, of=of), (answer("5"), tool(crop(0, 0, 90, 90)), "x")
    judges = [scored(question, reply, judged("no"))[1].asked for reply in replies]
    assert [*map(len, judges)] == asked
    texts = [each.messages[-1].text for asks in judges for each in asks]
    assert {*texts} <= {"5: AB is 5?", ": AB is hard to read?"}


def test_a_text_of_authors_is_kept_by_its_folder_and_file() -> None:
    question = Question("ours?", yes_no, system="Ours.", file=Path("/some/zoo/grit/judge.yaml"))
    kept = {"judge.yaml": ("no", "no"), "grit/judge.yaml": ("theirs?", "Theirs.")}
    assert (question.name, question.said(kept)) == ("grit/judge.yaml", ("theirs?", "Theirs."))
    assert (Question("a?", yes_no).name, Question("a?", yes_no, system="b").said(kept)) == ("", ("a?", "b"))


def test_a_published_question_is_read_with_its_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ask.yaml").write_text("text: '{text:a} Say yes.'\nsystem: '{text:b} Judge.'\n")
    monkeypatch.setattr(texts, "text", lambda folder, name, own=False: f"{'ours' if own else 'theirs'} {name}")
    found = published(tmp_path / "ask.yaml", yes_no, 3)
    assert (found.text, found.system, found.tries) == ("ours a Say yes.", "ours b Judge.", 3)
    assert found.said() == ("theirs a Say yes.", "theirs b Judge.")
    monkeypatch.undo()
    critic, read = msgspec.structs.replace(found, judge="critic"), sample(answer("5"), prompt(strict="own"))
    with pytest.raises(UnscoredError, match="needs a judge, critic"):  # said before what its texts lack
        asyncio.run(critic.score(read, judged("yes"), "own"))


def test_a_term_is_marked_with_all_questions_that_it_asks() -> None:
    first, second = Question("a?", yes_no, judge="critic"), Question("b?", yes_no)
    marked: Any = asks(first, second, needed=False)(lambda sample, means: 1.0)
    assert marked.asks == Asks("critic", first, False, (second,))


def test_what_can_read_nothing_is_refused() -> None:
    for least, most in ((5, 1), (1, 1)):
        with pytest.raises(ValueError, match=f"a grade from {least} to {most} has no range"):
            grade(least, most)
    with pytest.raises(ValueError, match="this is no JSON schema: "):
        field({"type": "nothing"}, "score")


def test_a_question_about_a_result_that_cannot_be_shown_has_no_score() -> None:
    drawn = tool(call("draw_on_image", shape="line", points=[[1, 2]], image_index=0))  # of one point
    with pytest.raises(UnscoredError, match="needs an image that its call leads to: a line has 2 points"):
        scored(Question("{result}?", yes_no), drawn, judged("yes"))


def test_earlier_replies_that_cannot_be_read_have_no_thoughts() -> None:
    before = (tool(crop(0, 0, 90, 90), "I look"), "no marks", tool(crop(0, 0, 90, 90), "again"))
    sizes = ((280, 196), (84, 84), (84, 84), (84, 84))
    _, judge = scored(Question("So {thoughts}?", yes_no), answer("5"), judged("yes"), before=before, sizes=sizes)
    assert judge.asked[0].messages[-1].text == "So I look again?"


def test_a_question_with_crops_is_asked_before_there_are_any() -> None:
    value, judge = scored(Question("{crops} Is {answer} right?", yes_no), answer("5"), judged("yes"))
    assert (value, [list(ask.images) for ask in judge.asked]) == (1, [[]])


def test_it_is_asked_again_until_a_value_is_read_and_is_worth_0_without_one() -> None:
    replies = iter(["perhaps", "maybe", "yes"])
    question = Question("{answer}?", yes_no, temperature=1.0, tries=4)
    value, judge = scored(question, answer("5"), judged(lambda text: next(replies)))
    assert (value, len(judge.asked)) == (1, 3)
    value, judge = scored(Question("{answer}?", yes_no, tries=2), answer("5"), judged("perhaps"))
    assert (value, len(judge.asked)) == (0, 2)


def test_what_a_row_lacks_is_said_before_a_judge_is_missed() -> None:
    asked = {"{row.hint}": "the column hint", "{image_4}": "image 4", "{image_1}": "image 1"}
    for text, lacks in asked.items():
        with pytest.raises(UnscoredError, match=f"needs {lacks}"):
            scored(Question(text, yes_no), answer("5"), Means())
    blind = sample(answer("5"), prompt_of(Record((Message("user", "2 + 3?"),), question="2 + 3?", answer="5")))
    with pytest.raises(UnscoredError, match="needs an image, and the question has none"):
        asyncio.run(Question("{image}?", yes_no).score(blind, judged("yes"), "own"))
    with pytest.raises(UnscoredError, match="needs a judge, critic"):
        asyncio.run(Question("a", yes_no, judge="critic").score(sample(answer("5"), prompt()), judged("yes"), "own"))


@pytest.mark.parametrize("place", ["image_1x", "image_", "rows.hint", "my.row.hint"])
def test_a_place_that_is_nearly_one_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=rf"\{{{place}\}} is no place in a question"):
        Question(f"{{{place}}}", yes_no)


def test_a_place_that_is_not_known_is_refused_where_the_question_is_made() -> None:
    with pytest.raises(ValueError, match=r"\{anwser\} is no place in a question; places are question, .*doubled"):
        Question("Is {anwser} right?", yes_no)


FILE = """
from virc.rewards.question import Question, grade, yes_no

TERMS = ("format", "faithful", "clear")
faithful = Question("{image} Does it show this? {thought} Reply yes or no.", yes_no, about="whether it is seen")
clear = Question("How clear is {reply}? From 1 to 5.", grade(1, 5), system="You grade.", judge="critic",
                 temperature=0.5, max_tokens=77)


def total(t):
    return t.format + t.faithful + t.clear if t.format else 0.0
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FILE)
    file = tmp_path / "own.yaml"
    file.write_text("name: own\nreward: {total: ./own.py, judges: {critic: {}}}\n")
    return file


def test_the_share_of_stated_facts_is_a_question() -> None:
    """0.7 * facts found / all: tongxiao2002/Perception-R1, verl/workers/reward/custom.py."""
    schema = {"required": ["stated", "of"], "properties": {"stated": {"minimum": 0}, "of": {"minimum": 1}}}
    share = field(schema, lambda found: found["stated"] / found["of"])
    facts = Question("Which of {row.facts} does this state?\n{thought}\nEnd with JSON.", share)
    known = prompt(strict="own", facts=["AB is 5", "ABC is right", "BC is 3"])
    for said, value in (('Two: {"stated": 2, "of": 3}', 2 / 3), ('{"stated": 0, "of": 3}', 0), ('{"of": 3}', 0)):
        judge = ScriptedJudge(said)
        found = asyncio.run(facts.score(sample(answer("5", "AB is 5"), known), Means(judge), "facts"))
        assert found == pytest.approx(value)
        assert '["AB is 5","ABC is right","BC is 3"]' in judge.asked[0].messages[-1].text


def test_a_file_with_questions_is_a_reward(system: Path) -> None:
    total = rewards.of(Reward(total=str(system.with_name("own.py")), judges={"critic": Judging()}))
    assert [(term.name, term.about) for term in total.terms][1:] == [
        ("faithful", "whether it is seen"), ("clear", "what a judge says"),
    ]  # fmt: skip
    read = sample(answer("5"), prompt(strict="own"))
    found = asyncio.run(rewards.score(read, total, judged("yes", critic="4")))
    assert (found.total, found.terms["clear"]) == (2.75, 0.75)
    assert found.why["faithful"] == "the judge: yes"
    with pytest.raises(ConfigError, match=r"clear of .*own\.py asks 'critic', and reward.judges has none"):
        rewards.of(Reward(total=str(system.with_name("own.py"))))


def test_try_asks_each_judge_and_shows_questions_and_replies(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    done = virc("data", "synth", "--to", tmp_path / "d", "--count", 1, "--formats", "rl,sft")
    assert done.code == 0, done.err
    words = ("rewards", "try", system, "--data", tmp_path / "d" / "rl.parquet", "--rows", 2)
    with serve(lambda body: "yes") as judge, serve(lambda body: "It is a 3") as critic:
        judges = ("--judge-endpoint", judge.url, "--judge-endpoint", f"critic={critic.url}")
        found = virc(*words, *judges, "--json").json
        shown = virc(*words, *judges, "--verbose")
        whole = virc(*words[:4], tmp_path / "d" / "trajectories.json", "--rows", 1, "--json", *judges).json["rows"]
        (first, *_) = judge.chats()
        graded = [chat["messages"][0] for chat in critic.chats()]
        drawn = {(chat["temperature"], chat["max_tokens"]) for chat in critic.chats()}
    assert [row["terms"]["clear"] for row in found["rows"]] == [0.5, 0.5]
    asked = {each["name"]: each for each in found["rows"][0]["asked"]}
    assert asked["faithful"]["question"].startswith("<image> Does it show this? ")
    assert asked["clear"]["replies"] == ["It is a 3"]
    assert len(images_of(first)) == 1
    assert {message["content"] for message in graded} == {"You grade."}
    assert drawn == {(0.5, 77)}
    assert {each["name"] for each in whole[0]["asked"]} == {"clear", "faithful"}
    assert "row 1, faithful asks: <image> Does it show this?" in shown.err
    assert "row 1, clear is told: It is a 3" in shown.err


def test_profile_puts_the_term_first_that_takes_the_time(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trial, "time", clock)
    slow = "TERMS = ('format', 'slow')\ndef slow(sample, means):\n    trial.time.now += 0.02\n    return 1.0\n"
    imports = "from virc.rewards import trial\n"
    system.with_name("slow.py").write_text(imports + slow + "def total(t):\n    return t.slow\n")
    system.with_name("slow.yaml").write_text("name: slow\nreward: {total: ./slow.py}\n")
    virc("data", "synth", "--to", tmp_path / "d", "--count", 1, "--formats", "rl")
    words = ("--data", tmp_path / "d" / "rl.parquet", "--rows", 2)
    lines = virc("rewards", "try", system.with_name("slow.yaml"), *words, "--profile").out.splitlines()
    (head,) = (at for at, line in enumerate(lines) if line.split()[:2] == ["term", "replies"])
    (name, replies, each), (other, *_) = (line.split() for line in lines[head + 1 :])
    assert (name, replies, float(each), other) == ("slow", "2", 20, "format")
    with serve(lambda body: "yes") as judge:
        given = ("--judge-endpoint", judge.url, "--judge-endpoint", f"critic={judge.url}")
        costs = virc("rewards", "try", system, *words, *given, "--json").json["costs"]
    assert {each["term"]: each["waits"] for each in costs} == {"format": False, "faithful": True, "clear": True}


def test_show_prints_the_questions_of_a_file(system: Path) -> None:
    found = virc("rewards", "show", system, "--json").json["questions"]
    assert found["faithful"]["text"].startswith("{image} Does it show this?")
    assert found["clear"]["text"] == "You grade.\n\nHow clear is {reply}? From 1 to 5."
    assert found["clear"]["words"].endswith("own.py, to the critic")


def test_without_a_judge_try_says_which_is_missing(system: Path, tmp_path: Path) -> None:
    virc("data", "synth", "--to", tmp_path / "d", "--count", 1, "--formats", "rl")
    words = ("rewards", "try", system, "--data", tmp_path / "d" / "rl.parquet", "--rows", 1, "--json")
    (row,) = virc(*words).json["rows"]
    assert row["unscored"] == {"faithful": "needs a judge", "clear": "needs a judge, critic"}
    named = virc(*words, "--judge-endpoint", "judge=nonsense")
    assert (named.code, "--judge-endpoint must be a URL" in named.err) == (2, True)
    misspelt = virc(*words, "--judge-endpoint", "critc=http://127.0.0.1:9/v1")
    assert misspelt.code == 2
    assert "the reward has no judge 'critc'" in misspelt.err
    assert "did you mean 'critic'?" in misspelt.err


def test_a_misspelt_place_or_judge_is_found_by_check(system: Path) -> None:
    system.with_name("place.py").write_text(FILE.replace("{thought}", "{thougth}"))
    system.with_name("name.py").write_text(FILE.replace('judge="critic"', 'judge="citric"'))
    for name, said in (
        ("place", "{thougth} is no place in a question"),
        ("name", "asks 'citric', and reward.judges has none"),
    ):
        wrong = system.with_name(f"{name}.yaml")
        wrong.write_text(system.read_text().replace("own", name))
        done = virc("systems", "check", wrong)
        assert (done.code, said in done.out) == (3, True), done.out + done.err


def test_training_says_which_judge_has_no_address(system: Path, tmp_path: Path) -> None:
    settings = "base: tiny, data: d, device: cpu, offload: false, tensor_parallel: 1, train_batch_size: 8"
    of_tiny = f"stages: {{rl: {{kind: rl, settings: {{{settings}, ppo_mini_batch_size: 8}}}}}}"
    system.write_text(f"{system.read_text()}{of_tiny}\n")
    virc("data", "synth", "--to", tmp_path / "d", "--count", 4, "--formats", "rl")
    words = ("train", system, "--stage", "rl", "--data", tmp_path / "d" / "rl.parquet", "--dry-run")
    with serve(lambda body: "yes") as judge:
        done = virc(*words, "--judge-endpoint", judge.url)
    assert "asks the judge critic, which has no endpoint" in done.err
    assert "--judge-endpoint critic=URL" in done.err


@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize("of", ["judge", Question("Is {answer} right?", yes_no)])
def test_a_term_says_whether_it_can_do_without_its_judge(of: Any, needed: bool) -> None:
    marked: Any = asks(of, needed=needed)(lambda sample, means: None)
    assert marked.asks.needed is needed
