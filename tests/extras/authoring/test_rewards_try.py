"""`virc rewards try`: the real command on real rows."""

import json
from pathlib import Path

import msgspec
import pytest
from rewards.prompts import prompt
from rewards.test_questions import FILE
from support import crux
from support.called import virc
from support.scripted_judge import by_pictures
from support.servers import dead_url, images_of, serve
from support.solving import answer, picture
from support.tables import each_case

from virc.core import plugins
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.sample import sample
from virc_extras.authoring import reward_trial as trial


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "polygons"
    assert virc("data", "synth", "--to", folder, "--count", 3, "--seed", 1, "--formats", "rl,sft,prompts").code == 0
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


REWARD = """from virc.rewards.question import Question, yes_no

TERMS = ("answer", "mine")
{mine}


def total(t):
    return (t.answer or 0.0) + (t.mine or 0.0)
"""
FORMS = [
    ("mine(completions, solution)", "TRL or ms-swift"), ("mine(prompts, completions, **more)", "TRL or ms-swift"),
    ("compute_score(data_source, solution_str, ground_truth, extra_info=None)", "verl"),
    ("compute_score(reward_inputs)", "EasyR1"), ("reward_func(queries, prompts, labels)", "OpenRLHF"),
    ("right(prompt, completion, answer, state)", "verifiers"),
]  # fmt: skip
TERM = "def mine(sample, means):\n    return "


@each_case(
    ("mine", "message"),
    [
        ("import no_such_module", "MINE cannot be loaded: ModuleNotFoundError: no module named 'no_such_module'"),
        ("def mine(sample, means)\n    return 1", "MINE cannot be loaded: SyntaxError: "),
        ("def mine(sample):\n    return 1.0", "row 1: mine(sample) in line 4 of MINE cannot be called as mine("),
        ("mine = 3", "MINE is no term of a reward"),
        *((f"def {form}:\n    return 1", f"MINE has the form of rewards of {trainer}: ") for form, trainer in FORMS),
        (f"{TERM}sample.txt", "row 1: line 5 of MINE fails: AttributeError: "),
        (f"{TERM}'good'", "row 1: mine of MINE gives 'good', which is no number"),
        (f"{TERM}sample.prompt.columns['levl'] / 10", "row 1: line 5 of MINE fails: KeyError: 'levl'"),
        (f"{TERM}exit(3)", "row 1: line 5 of MINE fails: ExitError: it would end the process"),
        ("mine = Question('{reply}: {row.fcats}', yes_no)", "mine reads the column 'fcats' (MINE), and no row has it"),
    ],
)
def test_a_reward_that_cannot_be_loaded_or_fails_names_the_row(
    mine: str, message: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # the file of the next case may have the same size and second
    plugins.loaded.cache_clear()
    (tmp_path / "mine.py").write_text(REWARD.format(mine=mine))
    (tmp_path / "mine.yaml").write_text("name: mine\nreward: {total: ./mine.py}\n")
    done = virc("rewards", "try", tmp_path / "mine.yaml", "--data", rows / "rl.parquet")
    assert done.code == 3
    assert done.err.startswith(f"error: {message.replace('MINE', str(tmp_path / 'mine.py'))}"), done.err


@each_case(
    "value",
    [
        "np.float32(1)", "np.float64(1.0)", "np.int64(1)", "np.bool_(True)", "np.array(1.0)", "np.float16(1)",
        "np.uint8(1)", "fractions.Fraction(1)", "decimal.Decimal(1)", "True",
    ],
)  # fmt: skip
def test_a_number_of_any_kind_is_a_reward(
    value: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    plugins.loaded.cache_clear()
    mine = f"import decimal, fractions\nimport numpy as np\nprint('noise')\n{TERM}(print('noise'), {value})[1]"
    total = "return (t.answer or 0.0) + (t.mine or 0.0)"
    (tmp_path / "mine.py").write_text(REWARD.format(mine=mine).replace(total, f"print('noise')\n    return {value}"))
    (tmp_path / "mine.yaml").write_text("name: mine\nreward: {total: ./mine.py}\n")
    done = virc("rewards", "try", tmp_path / "mine.yaml", "--data", rows / "rl.parquet", "--rows", 1, "--json")
    assert [(row["total"], row["terms"]["mine"]) for row in done.json["rows"]] == [(1.0, 1.0)], done.err
    assert done.err.count("noise\n") == 3


@pytest.mark.parametrize("system", ["tiny", "deepeyes", "chain-of-focus"])
def test_right_answers_of_problems_are_scored_where_they_have_no_replies(system: str, rows: Path) -> None:
    done = virc("rewards", "try", system, "--data", rows / "prompts.parquet", "--json", "--own-words")
    assert done.code == 0, done.err
    assert [row["turn"] for row in done.json["rows"]] == ["answer"] * 3
    assert system != "tiny" or [row["terms"]["answer"] for row in done.json["rows"]] == [1.0] * 3


def test_whole_solutions_are_scored_as_rollouts(rows: Path) -> None:
    done = virc("rewards", "try", "tiny", "--data", rows / "trajectories.json", "--json")
    assert done.code == 0
    assert [row["turn"] for row in done.json["rows"]] == ["answer"] * 3
    assert [row["total"] for row in done.json["rows"]] == pytest.approx([1 + 0.8] * 3)
    assert done.json["rows"][0]["why"]["units"] == "1, 1, 1, 1, 0.8"
    judged = virc("rewards", "try", "virc", "--data", rows / "trajectories.json")
    assert "0 of 3 rows are scored" in judged.out


def test_with_a_judge_all_rows_are_scored(rows: Path, cache: Path) -> None:
    words = ("rewards", "try", "virc", "--data", rows / "rl.parquet", "--rows", 5, "--json")
    with serve(by_pictures) as server:
        done = virc(*words, "--judge-endpoint", server.url)
        again = virc(*words, "--judge-endpoint", server.url)
        assert len(server.chats()) == 9  # two for each of four looks, one for the answer; then they are kept
    assert done.code == 0
    assert (done.json["scored"], done.json["judge"]) == (5, server.url)
    assert [round(row["total"], 9) for row in done.json["rows"]] == [0.6, 0.6, 0.6, 0.6, 0.8]
    assert again.json["rows"] == done.json["rows"]
    assert any(cache.rglob("*.json"))


def test_a_column_of_replies_that_is_not_read_is_named_and_its_hint_reads_it(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    row = {"question": "What?", "answer": "3", "image": "a.jpg", "reply": answer("4")}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    system = tmp_path / "mine.yaml"
    words = ("rewards", "try", system, "--data", tmp_path / "rows.jsonl")
    system.write_text("name: mine\nreward: {total: outcome}\n")
    unread = virc(*words)
    assert "warning: the right answers of 1 problem are scored, not the column 'reply'\n" in unread.err
    assert ("1 on average" in unread.out, "worth 0" in unread.err) == (True, False)
    boxed = 'TERMS = ("boxed",)\ndef boxed(sample, means):\n    return float("boxed" in sample.text)\n'
    (tmp_path / "boxed.py").write_text(f"{boxed}def total(t):\n    return t.boxed\n")
    (tmp_path / "boxed.yaml").write_text("name: boxed\nreward: {total: ./boxed.py}\n")
    unboxed = virc("rewards", "try", tmp_path / "boxed.yaml", *words[3:])
    assert "each right answer is worth 0 as it is written" in unboxed.err
    layout = "rows: {mine: {about: mine, question: question, answer: answer, images: image, reply: reply}}\n"
    system.write_text(system.read_text() + layout)
    read = virc(*words)
    assert ("warning" in read.err, "0 on average" in read.out) == (False, True), read.err
    system.write_text(f"name: mine\nreward: {{total: outcome}}\n{layout.replace(', reply: reply', '')}")
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"image": []}))
    blind = virc(*words)
    assert (blind.code, blind.err[:46]) == (5, "error: row 1: a problem needs at least one ima"), blind.err


@pytest.mark.integration
def test_published_rows_have_their_reply_in_the_next_row(tmp_path: Path) -> None:
    made = crux.build(tmp_path / "crux", rows=3)
    (tmp_path / "s.yaml").write_text("name: s\nreward: {strict: own}\n")
    done = virc("rewards", "try", tmp_path / "s.yaml", "--data", made.train, "--json")
    assert done.code == 0
    found = done.json["rows"]
    assert [row["row"] for row in found] == [1, 3, 4, 6, 7]
    assert {row["turn"] for row in found} == {"tool"}  # the answers are in no row
    assert {row["terms"]["tool_choice"] for row in found} == {1.0}


def test_a_judge_that_is_away_ends_with_the_network_code(rows: Path, tmp_path: Path) -> None:
    judge_at = f"{{endpoint: {dead_url()!r}, patience: 0.1}}"
    (tmp_path / "s.yaml").write_text(f"name: s\nreward: {{judge: {judge_at}}}\n")
    done = virc("rewards", "try", tmp_path / "s.yaml", "--data", rows / "rl.parquet", "--rows", 3, "--json")
    assert (done.code, done.json["error"]["kind"], done.json["rows"]) == (6, "network", None)
    assert done.err.count("wait until it answers") == 1


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """A system with questions to two judges."""
    (tmp_path / "own.py").write_text(FILE)
    file = tmp_path / "own.yaml"
    file.write_text("name: own\nreward: {total: ./own.py, judges: {critic: {}}}\n")
    return file


def test_try_asks_each_judge_and_shows_questions_and_replies(
    asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    done = virc("data", "synth", "--to", tmp_path / "d", "--count", 1, "--formats", "rl,sft")
    assert done.code == 0, done.err
    words = ("rewards", "try", asking, "--data", tmp_path / "d" / "rl.parquet", "--rows", 2)
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


def test_without_a_judge_try_says_which_is_missing(asking: Path, tmp_path: Path) -> None:
    virc("data", "synth", "--to", tmp_path / "d", "--count", 1, "--formats", "rl")
    words = ("rewards", "try", asking, "--data", tmp_path / "d" / "rl.parquet", "--rows", 1, "--json")
    (row,) = virc(*words).json["rows"]
    assert row["unscored"] == {"faithful": "needs a judge", "clear": "needs a judge, critic"}
    named = virc(*words, "--judge-endpoint", "judge=nonsense")
    assert (named.code, "--judge-endpoint must be a URL" in named.err) == (2, True)
    misspelt = virc(*words, "--judge-endpoint", "critc=http://127.0.0.1:9/v1")
    assert misspelt.code == 2
    assert "the reward has no judge 'critc'" in misspelt.err
    assert "did you mean 'critic'?" in misspelt.err


def test_replies_are_compared_where_all_to_their_prompt_have_a_reward() -> None:
    total = msgspec.structs.replace(rewards.find("outcome"), group=lambda values, ts: [9.0] * len(values))
    right = sample("<think>a</think><answer>5</answer>", prompt(strict="own"))
    found = list(trial.tried([(number, [right]) for number in (4, 5, 6)], total, RewardContext(), units=True))
    unscored = msgspec.structs.replace(found[1].scored, total=None)
    rows = [found[0], msgspec.structs.replace(found[1], scored=unscored), msgspec.structs.replace(found[2], prompt=6)]
    assert [each.compared for each in trial.compared(rows, total)] == [None, None, 9.0]
