"""`virc eval --reward`: answers scored by a system's reward, term by term, from the conversation that led to them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.called import Done, virc
from support.parsed import Page
from support.servers import Server, dead_url, serve
from support.solving import CROP, answer, picture

from virc.evaluation import rewarding
from virc.evaluation.statistics import mean_interval, paired_interval
from virc.rewards import judging, registry
from virc.systems.registry import Judging, Reward

pytestmark = pytest.mark.usefixtures("here")

REWARD = """
from virc.rewards.means import UnscoredError

TERMS = ("right", "near", "crops", "needs_box")

def right(sample, means):
    '''Whether the answer is right, as the row says.'''
    return None if sample.answer is None else float(sample.answer == str(sample.prompt.columns["wanted"]))

def near(sample, means):
    '''How near the answer is; of rows with a scale.'''
    scale = sample.prompt.columns.get("scale")
    if scale is None or not (sample.answer or "").isdigit():
        return None
    return 1 - abs(float(sample.answer) - sample.prompt.columns["wanted"]) / scale

def crops(sample, means):
    '''The width of the last image that was shown.'''
    return float(sample.prompt.images[-1].size[0])

def needs_box(sample, means):
    '''Only rows with a box have it.'''
    if "spot" not in sample.prompt.columns:
        raise UnscoredError("the row has no spot")
    return 0.5

def total(t):
    return (t.right or 0) + 0.5 * (t.near or 0)

def whole(units, t):
    return units[-1] - 0.1 * t.tool_calls
"""
ROWS: list[dict[str, Any]] = [
    {"id": "1", "wanted": 2, "scale": 10},
    {"id": "2", "wanted": 4, "scale": 10, "spot": 1},
    {"id": "3", "wanted": 6},
    {"id": "4", "wanted": 8},
]
SAID = {  # problem -> what each model answers
    "1": {"good": "2", "bad": "7"},
    "2": {"good": "4", "bad": "9"},
    "3": {"good": "6", "bad": "6"},
    "4": {"good": "1", "bad": "1"},
}


def solve(body: dict[str, Any]) -> str:
    """Look once, then answer; the fourth problem is answered at once."""
    found = re.search(r"problem (\d)", json.dumps(body["messages"]))
    assert found
    if found[1] != "4" and len(body["messages"]) == 2:
        return CROP
    return answer(SAID[found[1]][body["model"]])


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(solve, models=("good", "bad")) as running:
        yield running


@pytest.fixture
def system(here: Path) -> Path:
    (here / "mine.py").write_text(REWARD)
    file = here / "mine.yaml"
    file.write_text("name: mine\nabout: a reward of ours\nreward: {total: ./mine.py}\n")
    return file


@pytest.fixture
def problems(here: Path) -> Path:
    """Rows without an answer: only the reward says what is right."""
    picture(here / "a.png")
    rows = [{"image": "a.png", "question": f"problem {row['id']}", **row} for row in ROWS]
    file = here / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def evaluated(server: Server, problems: Path, *words: object, models: tuple[str, ...] = ("good",)) -> Done:
    named = [word for model in models for word in ("--model", model)]
    return virc("eval", problems, "--endpoint", server.url, "--json", *named, *words)


def means(done: Done, model: int = 0) -> dict[str, float | None]:
    assert done.code == 0, done.err
    return {name: each["mean"] for name, each in done.json["models"][model]["reward"].items()}


def test_terms_are_those_of_the_conversation_counted_by_hand(server: Server, problems: Path, system: Path) -> None:
    done = evaluated(server, problems, "--reward", system)
    assert done.code == 0, done.err
    assert done.json["reward"] == {
        "system": "mine", "total": "mine", "terms": ["right", "near", "crops", "needs_box"], "group": False,
        "judge": None,
    }  # fmt: skip
    found = done.json["models"][0]["reward"]
    # 1 + 0.5 - 0.1, the same, 1 - 0.1, and 0 of the fourth, which is wrong and calls no tool
    assert found["total"]["mean"] == pytest.approx((1.4 + 1.4 + 0.9 + 0) / 4)
    assert found["total"]["interval"] == pytest.approx(mean_interval([1.4, 1.4, 0.9, 0.0]))
    assert (found["right"]["mean"], found["right"]["interval"]) == (0.75, pytest.approx([0.3006, 0.9544], abs=1e-4))
    # of rows with a scale; the others are not applicable, and not 0
    assert found["near"] == {"mean": 1.0, "interval": pytest.approx(mean_interval([1, 1])), "of": 2,
                             "not_applicable": 2, "unscored": 0}  # fmt: skip
    # without a spot it cannot be had, which is neither 0 nor not applicable
    assert found["needs_box"] == {"mean": 0.5, "interval": None, "of": 1, "not_applicable": 0, "unscored": 3}
    # 112 px before the crop of 56 px, which is shown at 112: the images are those that the model saw
    assert found["crops"]["of"] == 4
    values = [json.loads(line) for line in Path("evals/sums/rewards/mine/good.jsonl").read_text().splitlines()]
    assert [each["rewarded"]["total"] for each in values] == pytest.approx([1.4, 1.4, 0.9, 0])
    assert [each["rewarded"]["unscored"].get("needs_box") for each in values] == [
        "the row has no spot", None, "the row has no spot", "the row has no spot",
    ]  # fmt: skip
    # no answer is known to be right: accuracy is undecided, and that is no failure of a judge
    assert done.json["models"][0]["score"]["bounds"] == [0, 1]
    assert done.json["commonest"]["of"] == 0


def test_a_mean_falls_when_replies_get_worse_and_models_are_compared_in_pairs(
    server: Server, problems: Path, system: Path
) -> None:
    done = evaluated(server, problems, "--reward", system, models=("good", "bad"))
    good, bad = means(done), means(done, 1)
    assert (good["right"], bad["right"]) == (0.75, 0.25)
    assert good["near"] == 1
    assert bad["near"] == 0.5
    (pair,) = done.json["pairs"]
    assert pair["reward"]["right"] == {
        "difference": 0.5, "interval": pytest.approx(paired_interval([(1, 0), (1, 0), (1, 1), (0, 0)])), "of": 4,
    }  # fmt: skip
    assert pair["reward"]["near"] == {"difference": 0.5, "interval": None, "of": 2}
    assert pair["reward"]["total"]["difference"] == pytest.approx((1.25 + 1.25 + 0 + 0) / 4)


def test_a_rerun_takes_up_values_and_another_reward_needs_no_model(
    server: Server, problems: Path, system: Path, here: Path
) -> None:
    first = means(evaluated(server, problems, "--reward", system))
    asked = len(server.chats())
    file = Path("evals/sums/rewards/mine/good.jsonl")
    kept = file.read_text().replace('"right":1.0', '"right":0.5')
    file.write_text(kept)
    assert means(evaluated(server, problems, "--reward", system))["right"] == 0.375  # those on disk are taken up
    (here / "other.py").write_text(REWARD.replace("0.5 *", "2 *"))
    system.write_text(system.read_text().replace("mine.py", "other.py"))
    again = means(evaluated(server, problems, "--reward", system))
    assert again["right"] == first["right"]
    assert again["total"] == pytest.approx((2.9 + 2.9 + 0.9 + 0) / 4)  # another reward: all of it anew
    assert len(server.chats()) == asked


def test_a_model_that_is_asked_later_joins_those_that_have_values(server: Server, problems: Path, system: Path) -> None:
    evaluated(server, problems, "--reward", system)
    done = evaluated(server, problems, "--reward", system, models=("bad",))
    assert [each["name"] for each in done.json["models"]] == ["bad", "good"]
    assert (means(done)["right"], means(done, 1)["right"]) == (0.25, 0.75)
    system.with_name("other.py").write_text(REWARD.replace("0.5 *", "2 *"))
    system.write_text(system.read_text().replace("mine.py", "other.py"))
    other = evaluated(server, problems, "--reward", system, models=("bad",))
    assert means(other)["total"] == pytest.approx((2 * 0.5 - 0.1 + 2 * 0.5 - 0.1 + 0.9 + 0) / 4)
    assert other.json["models"][1]["reward"] is None  # it is of the former reward, which is not mixed with this one
    plain = evaluated(server, problems, "--limit", 4)
    assert plain.code == 5  # without the reward, rows need an answer
    assert "it has no answer" in plain.err


def test_rewards_that_the_disk_refuses_are_one_sentence(server: Server, problems: Path, system: Path) -> None:
    Path("evals/sums").mkdir(parents=True)
    Path("evals/sums/rewards").touch()
    done = evaluated(server, problems, "--reward", system)
    assert (done.code, "error: cannot write evals/sums/rewards/mine/good.jsonl: " in done.err) == (1, True), done.err


def test_of_several_samples_the_one_that_counts_is_scored(server: Server, problems: Path, system: Path) -> None:
    done = evaluated(server, problems, "--reward", system, "--samples", 3)
    assert means(done)["total"] == pytest.approx((1.4 + 1.4 + 0.9 + 0) / 4)


def test_a_total_that_compares_replies_says_that_it_did_not(
    server: Server, problems: Path, system: Path, here: Path
) -> None:
    (here / "mine.py").write_text(REWARD + "\ndef group(rewards, ts):\n    return [0.0 for _ in rewards]\n")
    done = virc("eval", problems, "--endpoint", server.url, "--model", "good", "--reward", system)
    assert done.code == 0, done.err
    assert "total mine, before it compares the replies to a prompt" in done.out
    assert re.search(r"total +good +0.925 ", done.out)


def test_no_usable_reply_is_a_rollout_that_ends_in_its_format(problems: Path, system: Path, here: Path) -> None:
    (here / "mine.py").write_text("TERMS = ('format',)\ndef total(t):\n    return t.format\n")
    with serve(lambda body: "<tool_call>{</tool_call>", models=("good",)) as server:
        done = evaluated(server, problems, "--reward", system)
    assert means(done) == {"total": -1, "format": 0}
    assert done.json["models"][0]["unanswered"] == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--reward", "rewardmapp"), "there is no system 'rewardmapp'"),
        (("--reward", "qwen3-vl"), "the system qwen3-vl has no reward"),
        (("--reward", "rules"), "rules is a reward, and what is tried is a system"),
        (("--reward", "rewardmap"), "line 1 cannot be scored by the reward of rewardmap: the row is none of"),
        (("--reward", "mine.yaml", "--judge-endpoint", "other=http://x"), "the reward has no judge 'other'"),
        (("--judge-endpoint", "other=http://x"), "--judge-endpoint other=URL names a judge of a reward"),
        (("--reward", "mine.yaml", "--crop-ablation", "counterfactual"), "--reward needs the row's own answer"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_model_is_asked(
    words: tuple[str, ...], sentence: str, server: Server, problems: Path, system: Path
) -> None:
    done = evaluated(server, problems, *words)
    assert done.code != 0
    assert sentence in done.json["error"]["message"]
    assert not server.chats()


def test_a_reward_that_no_row_can_have_is_refused_with_what_is_missing(
    server: Server, problems: Path, system: Path, here: Path
) -> None:
    (here / "mine.py").write_text(REWARD.replace("(t.right or 0)", "t.needs_box"))
    problems.write_text("".join(problems.read_text().splitlines(keepends=True)[2:]))
    done = evaluated(server, problems, "--reward", system)
    assert done.code == 3
    assert done.json["error"]["message"] == (
        "no problem can be scored by the reward of mine: needs_box: the row has no spot"
    )
    assert not server.chats()


def test_rows_that_the_reward_may_have_to_leave_out_are_said_before_a_model_is_asked(
    server: Server, problems: Path, system: Path, here: Path
) -> None:
    (here / "mine.py").write_text(REWARD.replace("(t.right or 0)", "t.needs_box"))
    done = evaluated(server, problems, "--reward", system)
    said = "problems that the reward of mine may have to leave out: 3 of 4, needs_box: the row has no spot"
    assert said in done.err


def test_the_report_has_a_row_for_each_term_and_the_reward_of_each_answer(
    server: Server, problems: Path, system: Path
) -> None:
    evaluated(server, problems, "--reward", system, models=("good", "bad"))
    page = Path("evals/sums/report.html").read_text()
    section = page.partition('<h2 id="reward">')[2].partition("</section>")[0]
    rows = re.findall(r'<tr><th scope="row" dir="auto">(\w+)</th><td dir="auto">(\w+)</td>', section)
    assert rows == [(name, model) for name in ("total", "right", "near", "crops", "needs_box")
                    for model in ("good", "bad")]  # fmt: skip
    assert section.count('class="bar"') == 10
    assert "Mean of good less that of bad" in section
    assert page.count("reward 1.400") == 2
    Page(page)
    trace = next(Path("evals/sums/traces/bad").glob("1/index.html")).read_text()
    assert "Reward of mine" in trace


JUDGED = """
from virc.rewards.question import Question, grade

TERMS = ("good", "short")
good = Question("Is {answer} a good answer?", grade(0, 10), "Whether a judge finds the answer good.")

def short(sample, means):
    return 1.0

def total(t):
    return (t.good or 0) + t.short

def whole(units, t):
    return units[-1]
"""


@pytest.fixture
def judged(here: Path, system: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CACHE", str(here / "cache"))
    (here / "mine.py").write_text(JUDGED)
    return system


def test_an_answer_that_the_judge_gives_no_score_is_unscored_and_no_zero(
    server: Server, problems: Path, judged: Path
) -> None:
    def judges(body: dict[str, Any]) -> str:
        return "hm" if "Is 4" in json.dumps(body) else "8"

    with serve(judges, models=("judge",)) as judge:
        words = ("--reward", judged, "--judge-endpoint", judge.url)
        done = evaluated(server, problems, *words)
        asked = len(judge.chats())
        assert means(evaluated(server, problems, *words)) == means(done)
        assert len(judge.chats()) == asked == 4
    assert means(done) == pytest.approx({"total": 1.8, "good": 0.8, "short": 1})
    found = done.json["models"][0]["reward"]
    assert [found[name]["unscored"] for name in ("total", "good", "short")] == [1, 1, 0]
    assert "answers without a reward: 1; of 1 of them, the judge gave no score" in done.err


@pytest.mark.integration
def test_a_judge_that_is_away_leaves_answers_unscored(server: Server, problems: Path, judged: Path) -> None:
    away = f"judge: {{endpoint: {dead_url()}, patience: 0.1}}"
    judged.write_text(judged.read_text().replace("mine.py", f"mine.py, {away}"))
    first = evaluated(server, problems, "--reward", judged)
    with serve(lambda body: "8", models=("judge",)) as judge:
        assert means(evaluated(server, problems, "--reward", judged, "--judge-endpoint", judge.url))["good"] == 0.8
        assert len(judge.chats()) == 4
    done = evaluated(server, problems, "--reward", judged)
    assert first.code == done.code == 6
    assert "the reward failed on 4 answers; the first: " in done.err
    summary = json.loads(Path("evals/sums/summary.json").read_text())["models"][0]["reward"]
    assert {name: (each["mean"], each["unscored"]) for name, each in summary.items()} == {
        "total": (None, 4), "good": (None, 4), "short": (None, 4),
    }  # fmt: skip


def test_a_reward_that_asks_a_judge_needs_one(server: Server, problems: Path, judged: Path) -> None:
    done = evaluated(server, problems, "--reward", judged)
    assert done.json["error"] | {"code": 0} == {
        "kind": "config", "code": 0, "message": "no problem can be scored by the reward of mine: good: needs a judge",
        "hint": "--judge-endpoint URL",
    }  # fmt: skip
    assert not server.chats()


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1, 1, 0, 1], 0.3006, 0.9544),  # a share: Wilson
        ([0.5, 1.0, 1.5], -0.2421, 2.2421),  # Student's t of 2 degrees of freedom is 4.3027
        ([2.0, 3.0], -3.8531, 8.8531),  # of 1 degree, 12.7062
    ],
)
def test_an_interval_of_a_mean(values: list[float], low: float, high: float) -> None:
    assert mean_interval(values) == pytest.approx((low, high), abs=1e-4)


def test_an_interval_of_a_mean_that_is_not_known() -> None:
    assert [mean_interval(values) for values in ([], [0.5], [0.5, 0.5, 0.5], [-1.0, -1.0])] == [None] * 4
    assert paired_interval([(0.5, 0.0), (1.0, 0.0), (1.5, 0.0)]) == pytest.approx((-0.2421, 2.2421), abs=1e-4)


def test_tiny_is_scored_by_its_own_reward(here: Path) -> None:
    done = virc("eval", "diagrams", "--model", "tiny", "--limit", 2, "--reward", "tiny", "--json")
    found = means(done)
    assert done.json["reward"]["total"] == "rules"
    assert (found["format"], found["answer"]) == (1, 1)
    assert done.json["models"][0]["reward"]["overlap"]["unscored"] == 2  # rows of the benchmark have no reference
    assert "overlap: the row has no box" in done.err


def test_other_questions_to_the_judge_are_another_reward(judged: Path) -> None:
    asked, digests = judged.with_name("asked.yaml"), list[str]()
    for text in ("Is it {answer}?", "Is it {answer}?", "Is it really {answer}?"):
        asked.write_text(f"answer: {text!r}\n")
        judging.questions.cache_clear()  # a run reads the file once
        reward = Reward(total="outcome", judge=Judging(questions=str(asked)))
        digests.append(rewarding.Rewarding("mine", reward, registry.find("outcome")).digest)
    assert digests[0] == digests[1] != digests[2]
