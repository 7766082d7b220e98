"""What becomes of rollouts: pairs and their order, counts of a ledger, the rows that are published of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.solving import CROP, answer, call

from virc.core.errors import ConfigError, DataError, NoAnswerError, UsageError, VircError
from virc.core.events import Reporter
from virc.data.convert.recode import boxes_scaled
from virc.data.rows.record import MARK, Picture, Record, file_sizes_field, file_sizes_of
from virc.data.rows.results import TURN
from virc.data.sample import dataset, run
from virc.data.sample import pairing as pairing_module
from virc.data.sample.dataset import Location, Totals
from virc.data.sample.pairing import CUT, Pairing, PairsAsked, judged, paired
from virc.data.sample.rollouts import Problem, Rollout, end_of, fields_of, problem_of
from virc.reasoning.images import Shown
from virc.reasoning.protocol import FILE_NAME, own_protocol
from virc.reasoning.session import Ask, Reply, Session
from virc.scoring.judge import Judge
from virc.scoring.score import Key
from virc.solving.batch import RowDone
from virc.solving.one import Attempt, SolveConfig
from virc.solving.rows import Row
from virc.systems.rounds import PairRule
from virc.tools import registry as tools

PROTOCOL = own_protocol(tools.schemas(tools.DEFAULT))
KEY = Key("97")
PROBLEM = Problem(Row(1, "a", question="Which?", passed={"question": "Which?", "level": 3}), KEY)
RIGHT, WRONG, OTHER = answer("97"), answer("98"), answer("99")
LONG = answer("97", "The third corner is the largest of all, as can be seen.")
ELSEWHERE = call("crop_image", bbox_2d=[28, 28, 84, 84], image_index=0)


def rollout(number: int, *replies: str, end: str | None = None, shade: str = "red") -> Rollout:
    """A rollout of these replies on a picture of that colour."""
    session = Session(PROTOCOL, "Which?", [Image.new("RGB", (112, 84), shade)], tolerate=(), tools=tools.known())
    for reply in replies:
        session.next()
        session.feed(Reply(reply))
    trace = session.trace()
    return Rollout(number, Attempt(trace, tuple(session.images)), end or end_of(trace, PROBLEM))


def pairs(
    rule: PairRule, rollouts: Sequence[Rollout], to: Path, keep: int = 9, problem: Problem = PROBLEM, **given: Any
) -> tuple[list[dict[str, Any]], dict[str, int]]:  # fmt: skip
    """The rows of the pairs, and why others are none."""
    location = Location(to / "out", "pairs", paired=True)
    location.folder.mkdir()
    found = paired(Pairing(rule, **given), keep, problem, rollouts, location)
    return found.rows, {kind: count for kind, count in found.left_out.items() if count}


@pytest.mark.parametrize(("crops", "expected"), [("shown", [14, 7, 28, 42]), ("file", [28, 14, 56, 84])])
def test_boxes_of_a_row_are_of_the_picture_that_it_has_or_says_the_size_of(crops: str, expected: list[int]) -> None:
    problem = Problem(msgspec.structs.replace(PROBLEM.row, passed={"question": "?", "boxes": [[28, 14, 56, 84]]}), KEY)
    drawn = rollout(1, RIGHT).attempt
    trace = msgspec.structs.replace(drawn.trace, protocol=msgspec.structs.replace(drawn.trace.protocol, crops=crops))
    shown = Shown(Image.new("RGB", (56, 42)), original=(112, 84))
    fields = fields_of(problem, msgspec.structs.replace(drawn, trace=trace, images=(shown,)))
    assert fields["boxes"] == [expected]
    assert fields.get("file_sizes") == (None if crops == "shown" else [(112, 84)])


def test_a_solution_without_pictures_keeps_the_fields_of_its_row() -> None:
    problem = Problem(msgspec.structs.replace(PROBLEM.row, passed={"question": "?", "level": 3}), KEY)
    assert fields_of(problem, msgspec.structs.replace(rollout(1, RIGHT).attempt, images=())) == {"level": 3}


@pytest.mark.parametrize(
    ("given", "rescaled"),
    [
        ({"boxes": None}, {"boxes": None}),
        ({"boxes": None, "box": [28, 14, 56, 84]}, {"boxes": None, "box": [14, 7, 28, 42]}),
        ({"box": [28, 14, 56, 84]}, {"box": [14, 7, 28, 42]}),
        ({"level": 3}, {"level": 3}),
    ],
)
def test_boxes_follow_a_picture_in_the_column_that_has_them(given: dict[str, Any], rescaled: dict[str, Any]) -> None:
    assert boxes_scaled(Record((), extra=given), (112, 84), (56, 42)).extra == rescaled


def sides(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [(row["chosen"]["content"], row["rejected"]["content"], row["margin"]) for row in rows]


def by_length(problem: Problem, each: Rollout) -> float:
    return {RIGHT: 3.0, WRONG: 2.5, OTHER: 1.0}[each.attempt.trace.units[-1].text]


@pytest.mark.parametrize(
    ("rule", "replies", "given", "found"),
    [
        ("right", [[RIGHT], [WRONG]], {}, [(RIGHT, WRONG, 1.0)]),
        ("right", [[RIGHT], [WRONG]], {"margin": 1.0}, [(RIGHT, WRONG, 1.0)]),
        ("right", [[RIGHT], [WRONG]], {"margin": 1.1}, []),
        ("right", [[RIGHT], [WRONG], [WRONG]], {}, [(RIGHT, WRONG, 1.0)]),  # once
        ("right", [[RIGHT], [CROP, WRONG], [CROP, RIGHT]], {},  # those that part the latest first
         [(RIGHT, WRONG, 1.0), (RIGHT, CROP, 1.0)]),
        ("grade", [[OTHER], [WRONG], [RIGHT]], {"grade": by_length},  # the largest margin first
         [(RIGHT, OTHER, 2.0), (WRONG, OTHER, 1.5), (RIGHT, WRONG, 0.5)]),
        ("shorter", [[LONG], [RIGHT], [WRONG]], {},
         [(RIGHT, LONG, 1 - len(RIGHT) / len(LONG))]),
        ("shorter", [[CROP, RIGHT], [RIGHT]], {},  # all that it wrote counts
         [(RIGHT, CROP, 1 - len(RIGHT) / len(CROP + RIGHT))]),
        ("shorter", [[RIGHT, ], [RIGHT]], {}, []),
    ],
)  # fmt: skip
def test_the_better_reply_comes_first(
    rule: PairRule, replies: list[list[str]], given: dict[str, Any], found: list[tuple[str, str, float]], tmp_path: Path
) -> None:
    rows, _ = pairs(rule, [rollout(at, *each) for at, each in enumerate(replies, 1)], tmp_path, **given)
    assert sides(rows) == [(better, worse, round(margin, 6)) for better, worse, margin in found]
    assert [row["id"] for row in rows] == [f"a-{at}" for at in range(1, len(rows) + 1)]


@pytest.mark.parametrize("end", CUT)
def test_a_rollout_that_was_cut_is_in_no_pair(end: str, tmp_path: Path) -> None:
    assert pairs("right", [rollout(1, RIGHT), rollout(2, WRONG, end=end)], tmp_path) == ([], {end: 1, "alike": 1})


def test_the_ends_that_no_pair_holds_are_these() -> None:
    assert set(CUT) == {"length", "repetition", "failed", "marks"}


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ([RIGHT], [RIGHT], "same"),
        ([CROP, RIGHT], [ELSEWHERE, WRONG], None),  # they part in the crop
        ([RIGHT], ["It is 97."], None),
        (["It is 97."], [RIGHT], "refused"),
    ],
)
def test_where_two_rollouts_part(better: list[str], worse: list[str], why: str | None, tmp_path: Path) -> None:
    given = [rollout(1, *better, end="right"), rollout(2, *worse, end="wrong")]
    rows, left_out = pairs("right", given, tmp_path)
    assert (len(rows), left_out) == ((0, {why: 1}) if why else (1, {}))
    for row in rows:
        assert len(row["images"]) == sum(turn["content"].count("<image>") for turn in row["messages"]) == 1


def test_rollouts_that_saw_other_pictures_are_no_pair(tmp_path: Path) -> None:
    given = [rollout(1, RIGHT), rollout(2, WRONG, shade="blue")]
    assert pairs("right", given, tmp_path) == ([], {"shown": 1})


def test_a_pair_turned_round_is_left_out(tmp_path: Path) -> None:
    grades = iter([2.0, 1.0, 1.0, 3.0])
    given = [rollout(at, text) for at, text in enumerate([RIGHT, WRONG, RIGHT, WRONG], 1)]
    rows, left_out = pairs("grade", given, tmp_path, grade=lambda *_: next(grades))
    assert sides(rows) == [(WRONG, RIGHT, 2.0)]
    assert left_out["reverse"] == 1


def test_more_pairs_than_asked_for_are_counted(tmp_path: Path) -> None:
    rows, left_out = pairs("right", [rollout(1, RIGHT), rollout(2, WRONG), rollout(3, OTHER)], tmp_path, keep=1)
    assert (len(rows), left_out) == (1, {"more": 1})


def test_a_rollout_without_a_grade_is_in_no_pair(tmp_path: Path) -> None:
    given = [rollout(1, RIGHT), rollout(2, WRONG), rollout(3, OTHER)]
    rows, left_out = pairs(
        "grade", given, tmp_path, grade=lambda _, each: None if each.number == 2 else by_length(_, each)
    )
    assert (sides(rows), left_out) == ([(RIGHT, OTHER, 2.0)], {"ungraded": 1})


class _SaysSame:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def same(self, question: str, reference: str, answer: str) -> bool:
        self.asked.append(answer)
        return answer == "98"


def test_a_rollout_is_right_by_any_accepted_answer(tmp_path: Path) -> None:
    problem = accepting("97", "ninety-seven", "98")
    trace = rollout(1, WRONG).attempt.trace
    assert (end_of(trace, PROBLEM), end_of(trace, problem)) == ("wrong", "right")
    for mark in (MARK, TURN):  # which stand for something else in rows
        assert rollout(1, answer("97", f"It is {mark} so.")).end == "marks"
    (row,), _ = pairs("right", [rollout(1, RIGHT, end="right"), rollout(2, OTHER)], tmp_path, problem=problem)
    assert (row["answer"], row["answers"]) == ("97", ["97", "ninety-seven", "98"])


def accepting(*answers: str) -> Problem:
    fields = {"question": "Which?", "answer": answers[0], "answers": [*answers]}
    return problem_of(Row(1, "a", question="Which?", passed=fields))


def test_the_text_of_a_list_is_no_answer_to_sample_by() -> None:
    with pytest.raises(DataError, match=r"line 1: its answer .* is the text of a list"):
        problem_of(Row(1, "a", question="Which?", passed={"question": "Which?", "answer": "['97', '98']"}))


def test_a_judge_is_asked_about_wrong_answers_alone() -> None:
    judge: Any = _SaysSame()
    given = [rollout(1, RIGHT), rollout(2, WRONG), rollout(3, OTHER), rollout(4, WRONG, end="length")]
    found = judged(Pairing("right", judge=judge), PROBLEM, given)
    assert [each.end for each in found] == ["right", "right", "wrong", "length"]
    assert judge.asked == ["98", "99"]


class _Critical:
    """A backend of a critic that says these replies."""

    model = "critic"

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.asked = [*replies], list[Ask]()

    def reply(self, ask: Ask, sampling: object, seconds: float) -> Reply:
        self.asked.append(ask)
        return self.replies.pop(0)

    def close(self) -> None:
        pass


def test_pairs_are_recorded_with_who_tells_the_better_side() -> None:
    asked = pairing_module.PairsAsked("reward", 0.5, reward="virc")
    assert asked.facts == {"pairs": "reward", "margin": 0.5, "reward": "virc"}
    asked = pairing_module.PairsAsked("right", judge="http://c/v1", judge_model="m")
    assert asked.facts == {"pairs": "right", "margin": 0.0, "judge": "http://c/v1", "judge_model": "m"}


def test_a_critic_sees_the_end_of_a_solution_and_is_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = _Critical(Reply("grade: 1", finish="length"), Reply("grade: 7"))
    monkeypatch.setattr("virc.scoring.judge.OpenAIBackend", lambda *_, **__: backend)
    unused: Any = None
    with pairing_module.pairing_of(pairing_module.PairsAsked("grade", judge="http://c/v1"), unused, unused) as pairing:
        assert pairing.grade
        assert pairing.grade(PROBLEM, rollout(1, "x" * 9000 + "the end", end="wrong")) == 0.7
    assert all("the end" in ask.messages[-1].text for ask in backend.asked)


def test_a_critic_gets_its_key_and_the_pictures_of_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Heard(Judge):
        def __init__(self, *words: object) -> None:
            given.append(words)

        def decide(self, *asked: Any) -> Any:
            given.append([shown.size for shown in asked[-1]])
            return 0.5

        def close(self) -> None:
            given.append("closed")

    monkeypatch.setattr(pairing_module, "Judge", Heard)
    monkeypatch.setenv("VIRC_JUDGE_KEY", "a-key")
    row = msgspec.structs.replace(PROBLEM.row, images=["a.png"])
    unused: Any = None
    with pairing_module.pairing_of(
        pairing_module.PairsAsked("grade", judge="http://c/v1", judge_model="m"), unused, unused
    ) as pairing:
        assert pairing.grade
        assert pairing.grade(Problem(row, PROBLEM.key), rollout(1, CROP, RIGHT)) == 0.5
    assert given == [("http://c/v1", "m", "a-key"), [(112, 84)], "closed"]


def ledger(to: Path, *lines: dict[str, Any], name: str = "rows", is_paired: bool = False) -> Location:
    """A ledger of sampling, of a folder with the pictures 1 to 3."""
    location = Location(to, name, is_paired)
    location.images.mkdir(parents=True)
    for number in (1, 2, 3):
        (location.images / f"{number:032x}.png").touch()
    (location.images / "mine.png").touch()
    location.progress.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return location


def kept(location: Location, number: int) -> dict[str, Any]:
    return {"id": number, "images": [f"{location.images.name}/{number:032x}.png"]}


def lines(to: Path) -> list[dict[str, Any]]:
    """Of three problems, done in another order than theirs, and a row that failed."""
    first, second = (kept(Location(to, "rows"), number) for number in (1, 2))
    return [
        {"line": 3, "rollouts": 4, "right": 3, "ended": {"right": 3, "wrong": 1}, "repeated": 1, "kept": [second]},
        {"line": 4, "error": {"kind": "NetworkError"}},
        {"line": 1, "rollouts": 4, "right": 1, "ended": {"right": 1, "length": 3}, "kept": [first]},
        {"line": 2, "rollouts": 4, "right": 0, "ended": {"wrong": 2, "length": 2}, "kept": []},
    ]


def test_rows_that_failed_are_counted_as_such_alone(tmp_path: Path) -> None:
    location = ledger(tmp_path, *lines(tmp_path))
    totals = dataset.publish(location, finished=False, keep=2)
    assert totals == Totals(
        problems=3, rollouts=12, right=4, kept=2, without=1, fewer=3, failed=1,
        dropped={"length": 5, "wrong": 3, "repeated": 1, "more": 1},
    )  # fmt: skip
    assert totals.pass_rate == 4 / 12
    with location.progress.open("a") as file:
        file.write('{"line": 5, "roll')  # it is being written
    assert dataset.so_far(location).problems == 3
    assert dataset.so_far(Location(tmp_path, "none")) == Totals()


def test_what_was_sampled_is_said_in_one_line_and_why_others_are_not_among_it() -> None:
    totals = Totals(problems=3, rollouts=12, right=4, kept=2, without=1, fewer=3, failed=1, dropped={"length": 5})
    assert run.summary(totals, 2) == (
        "3 problems: 4 of 12 rollouts right (33.3%), 2 trajectories kept, 1 problem without one; 1 row failed; "
        "2 problems done before"
    )
    assert run.why(totals, 2) == "dropped: 5 longer than --max-tokens; 3 problems with fewer than --keep 2"
    paired = Totals(problems=1, rollouts=2, right=1, kept=1, unpaired=1, left_out={"margin": 2, "odd": 1})
    said = "1 problem: 1 of 2 rollouts right (50.0%), 1 pair, 1 problem without one"
    assert run.summary(paired, 0, pairs=True) == said
    assert run.why(paired, 1) == "left out: 2 pairs below --margin, 1 odd"


def test_a_chat_protocol_that_is_there_stays(tmp_path: Path) -> None:
    location = Location(tmp_path, "rows")
    dataset.put_protocol(location, PROTOCOL)
    before = (tmp_path / FILE_NAME).read_bytes()
    dataset.put_protocol(location, msgspec.structs.replace(PROTOCOL, name="theirs"))
    assert (tmp_path / FILE_NAME).read_bytes() == before
    with pytest.raises(ConfigError, match="is another chat protocol than that of the rows to be made"):
        dataset.put_protocol(location, msgspec.structs.replace(PROTOCOL, first="{images}{question}"))
    with (
        pytest.raises(ConfigError, match="is another chat protocol than that of the rows to be made"),
        dataset.begun(location, msgspec.structs.replace(PROTOCOL, first="{images}{question}"), {}),
    ):
        pass  # nothing is asked
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]
    location.images.touch()
    with pytest.raises(VircError, match=f"^cannot write {location.images}/[0-9a-f]+.png: "):
        dataset.store(location, Shown(Image.new("RGB", (56, 42))))


def test_rows_are_published_in_the_order_of_their_problems(tmp_path: Path) -> None:
    location = ledger(tmp_path, *lines(tmp_path))
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    dataset.publish(location, finished=False, keep=2)
    assert [json.loads(line)["id"] for line in location.file.read_text().splitlines()] == [1, 2]
    entries = json.loads((tmp_path / "dataset_info.json").read_text())
    assert [*entries] == ["other", "rows"]
    assert "ranking" not in entries["rows"]
    assert len([*location.images.iterdir()]) == 4, "a row may still be sampled"


def test_pictures_that_no_row_names_go_once_all_is_done(tmp_path: Path) -> None:
    location = ledger(tmp_path, *lines(tmp_path))
    dataset.publish(location, finished=True, keep=2)
    assert {each.name for each in location.images.iterdir()} == {f"{1:032x}.png", f"{2:032x}.png", "mine.png"}


FAILED = {"line": 2, "error": {"kind": "NetworkError"}}
ALL_WRONG = {"line": 3, "rollouts": 4, "right": 0, "ended": {"wrong": 4}, "kept": []}


@pytest.mark.parametrize(
    ("begun", "finished", "stays"),
    [
        ([ALL_WRONG], True, False),  # nothing is left to be done, and there is nothing to show
        ([ALL_WRONG], False, True),
        ([ALL_WRONG, FAILED], True, True),  # the same command asks the problem that failed again, and no other
        ([FAILED], True, True),
        ([], True, False),
    ],
)
def test_a_ledger_stays_as_long_as_a_problem_is_to_be_asked_again(
    begun: list[dict[str, Any]], finished: bool, stays: bool, tmp_path: Path
) -> None:
    location = ledger(tmp_path, *begun)
    (location.images / "mine.png").unlink()
    totals = dataset.publish(location, finished, keep=1)
    assert (totals.kept, totals.failed) == (0, begun.count(FAILED))
    assert location.progress.exists() == location.images.exists() == stays
    assert not location.file.exists()
    assert not (tmp_path / "dataset_info.json").exists()


def test_rows_that_a_user_took_out_of_the_ledger_go(tmp_path: Path) -> None:
    location = ledger(tmp_path, *lines(tmp_path))
    dataset.publish(location, finished=False, keep=2)
    location.progress.write_text(json.dumps(FAILED) + "\n")
    dataset.publish(location, finished=True, keep=2)
    assert not location.file.exists()
    assert json.loads((tmp_path / "dataset_info.json").read_text()) == {}
    assert location.progress.exists()


@pytest.mark.parametrize(
    ("there", "to", "says", "hint"),
    [
        ("", "a.json", "rows go to a folder or a .jsonl file, not to a.json", "--to traj.jsonl"),
        ("", "a.parquet", "rows go to a folder or a .jsonl file, not to a.parquet", "--to traj.jsonl"),
        ("a", "a", "/a is no folder", ""),
        ("a/trajectories.jsonl", "a", "/a/trajectories.jsonl is in use", ""),
        ("a/b.images/x", "a/b.jsonl", "/a/b.images is in use", ""),
        ("a/dataset_info.json", "a/b.jsonl", "/a/dataset_info.json has another dataset b", ""),
        ("a/dataset_info.json", "a/c.jsonl", None, ""),
        ("a/pairs.jsonl", "a", None, ""),
    ],
)
def test_rows_go_where_no_others_are(there: str, to: str, says: str | None, hint: str, tmp_path: Path) -> None:
    if there:
        (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / there).write_text('{"b": {"file_name": "b.json"}, "c": {"file_name": "c.jsonl"}}')
    if says is None:
        assert dataset.location_of(tmp_path / to).progress.parent == tmp_path / "a"
        return
    with pytest.raises(UsageError) as refused:
        dataset.location_of(tmp_path / to)
    assert refused.value.message.removeprefix(str(tmp_path)) == says
    assert refused.value.hint == (hint or "choose another path with --to")


def test_pairs_are_entered_as_ranked_rows_and_counted(tmp_path: Path) -> None:
    row = kept(Location(tmp_path, "pairs"), 1)
    left_out = {"line": 2, "rollouts": 2, "right": 2, "kept": [], "left_out": {"alike": 1}}
    whole = {"line": 1, "rollouts": 2, "right": 1, "kept": [row], "left_out": {}}
    location = ledger(tmp_path, left_out, whole, name="pairs", is_paired=True)
    totals = dataset.publish(location, finished=True, keep=1)
    assert (totals.unpaired, totals.kept, totals.left_out, totals.dropped) == (1, 1, {"alike": 1}, {})
    assert json.loads((tmp_path / "dataset_info.json").read_text())["pairs"]["ranking"] is True


@pytest.mark.parametrize(
    ("ends", "kept", "stops"),
    [
        ([{"tags": 2}] * 50, 0, True),
        ([{"wrong": 2}] * 49 + [{"tags": 2}], 0, False),
        ([{"right": 1, "wrong": 1}] * 50, 1, False),
        ([{"tags": 2}] * 49, 0, False),
    ],
)
def test_sampling_stops_where_the_first_problems_failed_alike(
    ends: list[dict[str, int]], kept: int, stops: bool
) -> None:
    notes: list[str] = []
    progress = run._Rollouts(0, Reporter(lambda event: notes.append(event.text)), total=200)
    first = {"replies": 6, "pictures": 7, "tokens": {"prompt": 9000, "completion": 80}}

    def add_all() -> None:
        for each in ends:
            fields = {"rollouts": 2, "right": kept, "kept": [{}] * kept, "ended": each, **first}
            progress.add(RowDone(Row(1, "a"), fields))

    estimate = (
        "by the first problem about 1,200 requests, 1,400 pictures, 1,800,000 prompt tokens, 16,000 completion tokens"
    )
    if stops:
        with pytest.raises(NoAnswerError, match="first 50 problems failed alike: rollouts without the tags"):
            add_all()
    else:
        add_all()
    assert [each.startswith(estimate) for each in notes if each.startswith("by ")] == [True]


@pytest.mark.parametrize(
    ("problems", "asked", "more", "said"),
    [
        (
            200,
            None,
            {},
            "200 problems: 8 rollouts of at most 4 requests each, at most 6,400 requests and 3,276,800 tokens of",
        ),
        (
            1,
            None,
            {},
            "1 problem: 8 rollouts of at most 4 requests each, at most 32 requests and 16,384 tokens of replies",
        ),
        (None, None, {}, "each problem: 8 rollouts of at most 4 requests each, at most 32 requests and 16,384 tokens"),
        (10, None, {"max_tokens_total": 1000}, "at most 320 requests and 163,840 tokens of replies"),
        (
            10,
            PairsAsked("grade", judge="http://j/v1"),
            {},
            "4 requests and one of the judge each, at most 400 requests",
        ),
    ],
)
def test_what_sampling_takes_at_most_is_said_before_it_starts(
    problems: int | None, asked: PairsAsked | None, more: dict[str, int], said: str
) -> None:
    assert said in run.bound(SolveConfig(samples=8, max_turns=4, **more), 512, problems, asked)


def test_sizes_of_files_are_in_a_row_where_any_picture_was_made_smaller() -> None:
    protocol = msgspec.structs.replace(PROTOCOL, crops="file")
    picture = Image.new("RGB", (56, 42))
    shown = [Shown(picture, original=(56, 42)), Shown(picture, original=(112, 84))]
    assert file_sizes_field(shown, protocol) == {"file_sizes": [(56, 42), (112, 84)]}
    assert file_sizes_field(shown[:1], protocol) == {}
    pictures = (Picture("a.png"), Picture("b.png"))
    for sizes, known in (([[56, 42], [112, 84]], [(56, 42), (112, 84)]), ([[56, 42]], None), ([[56, 0], [1, 1]], None)):
        assert file_sizes_of(Record(images=pictures, extra={"file_sizes": sizes})) == known
