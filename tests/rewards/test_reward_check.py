"""What `virc systems check` finds in a reward before anything starts: columns that rows lack, terms of one value."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.called import virc

from virc.core import plugins
from virc.data.formats.registry import only_source
from virc.rewards.check import run
from virc.rewards.check.trial import Finding
from virc.stages import resolve as stages
from virc.systems import registry as systems

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


def found_in(stage: str, file: Path) -> list[Finding]:
    system = systems.get(stage.split(maxsplit=1)[0])
    return run.check(system, stages.resolve(system, stage.split()[1]).config.reward, only_source(file, system))


@pytest.mark.parametrize("stage", DRAWN)
def test_rewards_of_this_package_have_no_fault_for_drawn_rows(stage: str, drawn: Path) -> None:
    assert found_in(stage, drawn / DRAWN[stage]) == []


REWARD = """from virc.core.errors import DataError
from virc.rewards.question import Question, asks, yes_no

TERMS = ("answer", "mine")
{mine}


def total(t):
    return (t.answer or 0.0) + (t.mine or 0.0)
"""


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
