"""What `virc systems check` finds in a reward before anything starts: columns that rows lack, terms of one value."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import published_rows, rows_of_thinkers
from support.called import virc
from support.solving import picture

from virc.core import plugins
from virc.data.formats.registry import only_source
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import QWEN2
from virc.rewards.check import run, trial
from virc.rewards.check.trial import Finding
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.tools import registry as tools

SHARED = {
    "actial rl": published_rows.actial_rl,
    "code-as-thought rl": rows_of_thinkers.code_as_thought,
    "curr-reft judge": partial(rows_of_thinkers.curr_reft, stage="judge"),
    "curr-reft choice": partial(rows_of_thinkers.curr_reft, stage="choice"),
    "grip rl": rows_of_thinkers.grip,
    "grit rl": rows_of_thinkers.grit,
    "internvl3.5 rl": published_rows.internvl3_5,
    "openvlthinker medium": published_rows.easy_r1,
    "perception-r1 rl": rows_of_thinkers.perception_r1,
    "rewardmap rl": rows_of_thinkers.rewardmap,
    "ssl4rl rl": published_rows.ssl4rl,
    "star-r1 rl": rows_of_thinkers.star_r1,
    "thinklite-vl rl": published_rows.thinklite_vl,
    "vicrit rl": rows_of_thinkers.vicrit,
    "vision-g1 round-1": published_rows.vision_g1,
    "visual-rft detect": published_rows.visual_rft_detect,
    "visual-rft classify": published_rows.visual_rft_classify,
    "visual-rft ground": published_rows.visual_rft_ground,
    "vlaa-thinking rl": rows_of_thinkers.vlaa_thinking,
    "vlm-r3 rl": published_rows.vlm_r3_rl,
}
"""Published rows, by the system and the stage that they are of; the others train on rows such as we draw."""
DRAWN = {
    "tiny rl": "rl.parquet", "virc rl": "rl.parquet", "deepeyes rl": "problems.jsonl", "mini-o3 rl": "prompts.parquet",
    "chain-of-focus rl": "problems.jsonl",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "drawn"
    done = virc("data", "synth", "--to", folder, "--count", 4, "--seed", 3, "--workers", 1,
                "--formats", "sft,batch,rl,prompts")  # fmt: skip
    assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize("name", ["trajectories.json", "problems.jsonl", "prompts.parquet"])
def test_a_reply_is_tried_on_rows_of_units_alone(name: str, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "reply.txt").write_text("<answer>3</answer>")
    done = virc("rewards", "try", "tiny", "--data", drawn / name, "--reply", tmp_path / "reply.txt")
    hint = done.err.partition("hint: ")[2].partition(", then")[0].replace("as-rl", str(tmp_path / "as-rl"))
    assert (done.code, virc(*hint.split()[1:]).code) == (5, 0), done.err
    done = virc("rewards", "try", "tiny", "--data", tmp_path / "as-rl", "--reply", tmp_path / "reply.txt")
    assert done.code == 0, done.err


def found_in(stage: str, file: Path) -> list[Finding]:
    system = systems.get(stage.split(maxsplit=1)[0])
    return run.check(system, stages.resolve(system, stage.split()[1]).config.reward, only_source(file, system))


@pytest.mark.parametrize("stage", SHARED)
def test_rewards_of_this_package_have_no_fault_for_published_rows(stage: str, tmp_path: Path) -> None:
    assert found_in(stage, SHARED[stage](tmp_path)) == []


@pytest.mark.parametrize("stage", DRAWN)
def test_rewards_of_this_package_have_no_fault_for_drawn_rows(stage: str, drawn: Path) -> None:
    assert found_in(stage, drawn / DRAWN[stage]) == []


@pytest.mark.parametrize("name", sorted(systems.discover()))
def test_without_rows_a_published_reward_is_said_to_be_untried_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEACHER_ENDPOINT", "http://127.0.0.1:9/v1")  # a tool of RRVF asks to have it named
    said = [each["message"] for each in virc("systems", "check", name, "--json").json["warnings"]]
    published = systems.get(name).reward is not None
    assert {*said} == ({"the reward was not tried: there are no rows"} if published else set())


REWARD = """from virc.core.errors import DataError
from virc.rewards.question import Question, asks, yes_no

TERMS = ("answer", "mine")
{mine}


def total(t):
    return (t.answer or 0.0) + (t.mine or 0.0)
"""
LOOSE = "\nchat_protocol:\n  system: ''\n  first: '{question}'\n  grammar: {think: null, calls: [], answer: null}\n"


@pytest.fixture(autouse=True)
def without_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes compiled code for that of a file of the same size and second, and one here is written anew."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def check(folder: Path, mine: str, rows: Path | None, more: str = "") -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the faults and warnings."""
    plugins.loaded.cache_clear()  # the file may be another than before
    (folder / "mine.py").write_text(REWARD.format(mine=mine))
    (folder / "mine.yaml").write_text("name: mine\nreward: {total: ./mine.py}" + more)
    done = virc("systems", "check", folder / "mine.yaml", *(("--data", rows) if rows else ()), "--json")
    return done.code, [*done.json["faults"], *done.json["warnings"]]


@pytest.fixture
def rows(tmp_path: Path, drawn: Path) -> Path:
    """Two problems with the columns `level` and `facts`: a hundred replies are tried on each."""
    file = tmp_path / "rows.jsonl"
    read = [json.loads(line) for line in (drawn / "problems.jsonl").read_text().splitlines()[:2]]
    images = {"images": None, "image": None}
    kept = [
        {
            **row,
            "level": number,
            "facts": ["a"],
            **{key: str(drawn / row[key]) for key in images if type(row.get(key)) is str},
        }
        for number, row in enumerate(read)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return file


@pytest.mark.parametrize(
    ("mine", "message", "hint"),
    [
        (
            'mine = Question("{reply}: {row.fcats}", yes_no)',
            "mine reads the column 'fcats' (FILE), and no row has it",
            "did you mean 'facts'?",
        ),
        (
            "def mine(sample, means):\n    columns = sample.prompt.columns\n    return columns['levl'] / 10",
            "row 1: line 7 of FILE fails: KeyError: 'levl'",
            "did you mean 'level'?",
        ),
        (
            "def mine(sample, means):\n    return sample.prompt.record.extra['stars']",
            "row 1: line 6 of FILE fails: KeyError: 'stars'",
            "columns are ",
        ),
    ],
)
def test_a_column_that_no_row_has_is_a_fault(mine: str, message: str, hint: str, rows: Path, tmp_path: Path) -> None:
    code, (found,) = check(tmp_path, mine, rows)
    assert (code, found["message"]) == (3, message.replace("FILE", str(tmp_path / "mine.py")))
    assert found["hint"].startswith(hint)
    assert "stars" not in message or {"facts", "level"} <= {*found["hint"].removeprefix(hint).split(", ")}


@pytest.mark.parametrize(
    "body",
    [
        "return len(sample.text) * columns.get('levle', 1)",  # a slip of the pen that no trial can tell from a wish
        "return len(sample.text) * (columns['stars'] if 'stars' in columns else 1)",
        "if 'stars' not in columns:\n        return len(sample.text)\n    return columns['stars']",
        "return len(sample.text) + columns['level']",
    ],
)
def test_a_column_that_may_be_missing_is_no_fault(body: str, rows: Path, tmp_path: Path) -> None:
    assert check(tmp_path, f"def mine(sample, means):\n    columns = sample.prompt.columns\n    {body}", rows) == (
        0,
        [],
    )


@pytest.mark.parametrize(
    ("mine", "message"),
    [
        (
            "import no_such_module",
            "MINE cannot be loaded: ModuleNotFoundError: no module named 'no_such_module', in line 5",
        ),
        ("def mine(sample, means)\n    return 1", "MINE cannot be loaded: SyntaxError: "),
        (
            "def mine(sample):\n    return 1.0",
            "row 1: MINE fails: TypeError: mine() takes 1 positional argument but 2 were given",
        ),
        ("mine = 3", "MINE is no term of a reward"),
        ("def mine(sample, means):\n    return sample.txt", "row 1: line 6 of MINE fails: AttributeError: "),
        ("def mine(sample, means):\n    return 'good'", "row 1: mine of MINE gives 'good', which is no number"),
        ("def mine(sample, means):\n    return {'a': 1}[sample.text]", "row 1: line 6 of MINE fails: KeyError: "),
        (
            "def mine(sample, means):\n    raise SystemExit(3)",
            "row 1: line 6 of MINE fails: ExitError: it would end the process",
        ),
    ],
)
def test_a_reward_that_cannot_be_loaded_or_called_is_one_fault(
    mine: str, message: str, rows: Path, tmp_path: Path
) -> None:
    code, found = check(tmp_path, mine, rows)
    assert (code, len(found)) == (3, 1)
    assert found[0]["message"].startswith(message.replace("MINE", str(tmp_path / "mine.py"))), found


def test_a_reward_by_columns_that_may_be_missing_is_no_fault_without_rows(tmp_path: Path) -> None:
    text = "def mine(sample, means):\n    return 1.0\n\n\ndef total(t):\n    return 0.0\n"
    (tmp_path / "flat.py").write_text('TERMS = ("mine",)\n\n\n' + text)
    (tmp_path / "flat.yaml").write_text("name: flat\nreward: {total: ./flat.py}\n")
    done = virc("systems", "check", tmp_path / "flat.yaml", "--json")
    assert (done.code, done.json["faults"]) == (0, [])
    assert [each["message"].split(" for all")[0] for each in done.json["warnings"]] == [
        "the term mine is 1",
        "the reward is 0",
    ]
    assert all(each["message"].endswith(" replies tried on row 1") for each in done.json["warnings"])  # no judge


@pytest.mark.parametrize("size", [(112, 224), (224, 112)])
def test_boxes_of_a_row_are_among_the_replies_that_are_tried(size: tuple[int, int], tmp_path: Path) -> None:
    box = [28, 14, 84, 98] if size[0] > size[1] else [14, 28, 98, 196]
    picture(tmp_path / "a.png", *size)
    row = {"id": "1", "question": "Where?", "answer": "there", "image": "a.png", "boxes": [box]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    tiny = systems.get("tiny")
    assert tiny.reward
    spoken = own_protocol(tools.schemas(tools.DEFAULT))
    ((number, rolled),) = trial.rolled(only_source(tmp_path / "rows.jsonl"), tiny.reward, spoken, QWEN2, worded=False)
    answers = {samples[-1].answer for about, samples in rolled if about == "the right answer"}
    half = [box[0], box[1], (box[0] + box[2]) // 2, box[3]]
    assert (number, {json.dumps(box), json.dumps(half)} <= answers) == (1, True), answers


@pytest.mark.parametrize(
    ("mine", "code", "message"),
    [
        ("def mine(sample, means):\n    return 0.5", 0, "the term mine is 0.5 for all of the"),
        (
            "def mine(sample, means):\n    return float(len(sample.text) > 10**6)",
            0, "the term mine is 0 for all of the",
        ),
        (
            "def mine(sample, means):\n    return None if len(sample.text) < 10**6 else 1.0",
            0, "the term mine applies to none of the",
        ),
        ('mine = Question("{reply}", lambda reply: 0.5)', 0, "the term mine is 0.5 for all of the"),
        ("def mine(sample, means):\n    raise DataError('there is no map')", 2, None),
    ],
)  # fmt: skip
def test_a_term_that_never_differs_is_named(
    mine: str, code: int, message: str | None, rows: Path, tmp_path: Path
) -> None:
    if message is None:
        with pytest.raises(TypeError):  # no findings: the rows cannot be used
            check(tmp_path, mine, rows)
        return
    for data in (rows, None):
        exit_code, (found,) = check(tmp_path, mine, data)
        assert (exit_code, found["message"].startswith(message)) == (code, True), found
        judges = "with judges that say the best and the worst"  # of the term `answer`
        assert found["message"].endswith(f" replies tried on row{'s 1, 2' if data else ' 1'}, {judges}")


@pytest.mark.parametrize(
    "mine",
    [
        "def mine(sample, means):\n    return len(sample.text)",
        "def mine(sample, means):\n    return float(sample.fault is None)",
        "def mine(sample, means):\n    return float('<think>' in sample.text)",
        'mine = Question("{image} {answer} Reply GOOD or BAD.", lambda reply: {"GOOD": 1, "BAD": 0}.get(reply))',
        'mine = Question("{result}", yes_no)',
        'mine = Question("{reply} {row.facts}", yes_no)',
    ],
)
def test_a_term_that_differs_is_none(mine: str, rows: Path, tmp_path: Path) -> None:
    assert check(tmp_path, mine, rows) == (0, [])
    code, found = check(tmp_path, mine, None)
    assert (code, [each["message"] for each in found if "not tried" not in each["message"]]) == (0, [])


@pytest.mark.parametrize(
    "mine",
    [
        'mine = Question("{reply}", yes_no, judge="critc")',
        '@asks("critc")\ndef mine(sample, means):\n    return len(sample.text)',
        '@asks(Question("{reply}", yes_no, judge="critc"))\ndef mine(sample, means):\n    return len(sample.text)',
    ],
)
def test_a_judge_that_the_reward_has_not_is_a_fault(mine: str, rows: Path, tmp_path: Path) -> None:
    code, (found,) = check(tmp_path, mine, rows)
    assert code == 3
    assert "asks 'critc', and reward.judges has none" in found["message"]


@pytest.mark.parametrize(
    ("mine", "code", "message"),
    [
        (
            "def mine(sample, means):\n    return float(bool(sample.turn and sample.turn.calls))",
            0, "the term mine is 0 for all of the",
        ),
        ('mine = Question("{result}", yes_no)', 3, "the term mine applies to none of the"),
    ],
)  # fmt: skip
def test_a_part_that_the_grammar_lacks_is_never_read(
    mine: str, code: int, message: str, rows: Path, tmp_path: Path
) -> None:
    exit_code, (found,) = check(tmp_path, mine, rows, "\ntools: none" + LOOSE)
    assert (exit_code, found["message"].startswith(message)) == (code, True), found


@pytest.mark.parametrize(
    ("reward", "where", "code", "message"),
    [
        ("weights: {answer: 1, focus: 0.5}", "reward.weights.focus", 3, "the term focus applies to none of the"),
        ("weights: {answer: 1}, gate: focus", "reward.gate", 3, "the gate focus applies to none of the"),
        ("weights: {answer: 1}, gate: never", "reward.gate", 0, "the gate never is 0 for all of the"),
        ("weights: {answer: 1, keywords: 1}", "reward.weights.keywords", 0, "the term keywords has no value for any"),
    ],
)
def test_weights_of_terms_that_never_apply_are_named(
    reward: str, where: str, code: int, message: str, rows: Path, tmp_path: Path
) -> None:
    (tmp_path / "never.py").write_text('NAME = "never"\n\n\ndef score(sample, means):\n    return 0.0\n')
    file = tmp_path / "weighed.yaml"
    file.write_text(f"name: weighed\nreward: {{total: weighted, {reward}}}\ntools: none{LOOSE}")
    done = virc("systems", "check", file, "--data", rows, "--json")
    found = [*done.json["faults"], *done.json["warnings"]]
    assert done.code == 3 or code == 0
    assert any(each["where"] == where and each["message"].startswith(message) for each in found), found


def test_the_same_reward_for_every_reply_is_a_fault(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text('TERMS = ("format",)\n\n\ndef total(t):\n    return 0 * t.format\n')
    (tmp_path / "flat.yaml").write_text("name: flat\nreward: {total: ./flat.py}\n")
    done = virc("systems", "check", tmp_path / "flat.yaml", "--data", rows)
    assert (done.code, "the reward is 0 for all of the" in done.out) == (3, True)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("def group(rewards, ts):\n    return [each + t.mine + t.thinkin for each, t in zip(rewards, ts)]",
         "fails: AttributeError: TERMS does not name 'thinkin'; there are answer, mine, turn"),
        ("def group(rewards, ts):\n    return rewards[:1]", "gives 1 rewards for 2 rollouts"),
        ("def group(rewards, ts):\n    return [1 / len({t.turn for t in ts} - {'answer'}) for t in ts]",
         "fails: ZeroDivisionError: division by zero"),
        ("def whole(units, t):\n    return units[0] / t.unitz",
         "fails: AttributeError: TERMS does not name 'unitz'; there are answer, mine, turn"),
        ("def whole(units, t):\n    return units[1]", "fails: IndexError: list index out of range"),
    ],
)  # fmt: skip
def test_functions_of_rollouts_are_tried(function: str, message: str, named: bool, rows: Path, tmp_path: Path) -> None:
    term = "\n\ndef mine(sample, means):\n    return len(sample.text) % 7 + 1\n\n\n"
    code, found = check(tmp_path, f"{term}{function}", rows if named else None)
    assert (code, len(found)) == (3, 1)
    assert found[0]["message"].endswith(message), found[0]["message"]
    assert ("line" in found[0]["message"]) == ("fails" in message)
    assert found[0]["message"].startswith("row ") == named  # of a drawn row the number says nothing


def test_functions_of_rollouts_that_do_not_fail_are_no_finding(rows: Path, tmp_path: Path) -> None:
    mine = """
def mine(sample, means):
    return len(sample.text) % 7 + 1


def whole(units, t):
    return sum(units) / t.turns + (t.ended == "answer") + len(t.reply_text) % 3


def group(rewards, ts):
    most = max((t.mine or 0.0) + t.tool_calls for t in ts)
    return [each / (1 + most) for each, t in zip(rewards, ts, strict=True)]
"""
    assert check(tmp_path, mine, rows) == (0, [])


def test_rows_of_a_stage_are_used_unnamed(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = f"\nstages: {{rl: {{kind: rl, settings: {{base: b, data: {rows}, rollout: multi_turn}}}}}}\n"
    text = "def mine(sample, means):\n    return sample.prompt.columns['levl'] / 10"
    code, (found,) = check(tmp_path, text, None, stage)
    assert (code, found["hint"]) == (3, "did you mean 'level'?")


def test_rows_that_are_named_are_those_of_the_first_reward(rows: Path, tmp_path: Path) -> None:
    """A stage behind it has rows of its own, whatever they lack of what its reward reads."""
    stage = "{{kind: rl, settings: {{base: b, data: d, reward: {{total: weighted, weights: {{{}}}}}}}}}"
    stages_of = f"{{first: {stage.format('keywords: 1')}, second: {stage.format('focus: 1')}}}"
    file = tmp_path / "two.yaml"
    file.write_text(f"name: two\nstages: {stages_of}\ntools: none{LOOSE}")
    done = virc("systems", "check", file, "--data", rows, "--json")
    named = {each["where"].split(".")[1] for each in (*done.json["faults"], *done.json["warnings"])}
    assert named == {"first"}, done.out


def test_columns_are_those_of_the_layouts_where_there_are_no_rows(tmp_path: Path) -> None:
    layout = "\nrows: {a: {about: x, question: problem, answer: solution, boxes: places}}\n"
    code, (found,) = check(tmp_path, 'mine = Question("{row.boxs} {reply}", yes_no)', None, layout)
    assert (code, found["hint"]) == (3, "did you mean 'boxes'?")
    code, (found,) = check(tmp_path, 'mine = Question("{row.problem} {reply}", yes_no)', None, layout)
    assert (code, "a layout reads it as a field of every row" in found["hint"]) == (3, True)
    code, (found,) = check(tmp_path, 'mine = Question("{row.another} {reply}", yes_no)', None, layout)
    assert (code, "was not tried" in found["message"]) == (0, True)  # rows may have columns that no layout names


def test_a_dry_run_of_training_warns_of_the_same(drawn: Path, tmp_path: Path) -> None:
    settings = "base: tiny, data: d, device: cpu, offload: false, tensor_parallel: 1, train_batch_size: 4"
    stage = f"\nstages: {{rl: {{kind: rl, settings: {{{settings}, ppo_mini_batch_size: 4}}}}}}\n"
    check(tmp_path, "def mine(sample, means):\n    return sample.prompt.columns['tool_info']", None, stage)
    words = ("train", tmp_path / "mine.yaml", "--stage", "rl", "--data", drawn / "rl.parquet", "--dry-run")
    assert "mine.py fails: KeyError: 'tool_info'\nhint: did you mean 'tool_info_gt'?" in virc(*words).err


def test_a_column_may_be_one_of_a_later_row(rows: Path, tmp_path: Path) -> None:
    first, second = map(json.loads, rows.read_text().splitlines())
    rows.write_text(f"{json.dumps(first)}\n{json.dumps({**second, 'late': 'x'})}\n")
    assert check(tmp_path, 'mine = Question("{row.late} {reply}", yes_no)', rows) == (0, [])


def test_a_reward_of_columns_is_said_to_be_untried_without_rows(tmp_path: Path) -> None:
    mine = """
def mine(sample, means):
    return float(sample.prompt.columns["task"] == "sum")
"""
    asked = 'mine = Question("{row.stars} {row.level} {reply}", yes_no)'
    for text, columns in ((mine, "task"), (asked, "level, stars")):
        code, found = check(tmp_path, text, None)
        assert code == 0
        assert [each["message"] for each in found] == [
            f"the reward was not tried: it reads columns of rows ({columns})"
        ]


def test_a_reward_is_tried_on_replies_of_every_kind() -> None:
    tried = trial.tries(own_protocol(tools.schemas(tools.DEFAULT)), ["5", "5.0"], (280, 196))
    assert {each.about for each in tried} == {
        "the right answer", "wrong answers", "malformed replies", "tool calls", "refused tool calls",
        "answers after tool calls", "answers after refused calls",
    }  # fmt: skip
    assert not [each for each in tried if each.about.startswith("answers after") != (len(each.replies) > 1)]
