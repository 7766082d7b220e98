"""The look through a stage's rows as a process of its own."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from stage_rows import COUNT, copied, drawn, request

import virc
from virc.core.errors import ConfigError, DataError
from virc.data.check.result import FIRST, survey
from virc.data.formats.registry import get, only_source
from virc.training.preflight import process as preflight
from virc.training.preflight.process import read, step
from virc.training.preflight.types import SftRequest

RECIPES = Path(virc.__file__).parents[1]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows")


def printed(asked: SftRequest) -> str:
    """What the step of a request prints."""
    planned = step(asked, Path(sys.executable), RECIPES)
    env = {name: value for name, value in planned.env.items() if value}
    done = subprocess.run(planned.argv, env=env, capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.integration
def test_mistakes_arrive_as_errors_of_their_class(rows: Path, tmp_path: Path) -> None:
    broken = copied(rows, tmp_path / "é a", lambda rows: rows[2]["messages"].pop())
    with pytest.raises(DataError, match="row 3: ") as error:
        read(printed(request(broken)))
    assert "--clean" in (error.value.hint or "")
    with pytest.raises(ConfigError, match=r"config\.json"):
        read(printed(request(rows, base=tmp_path)))


def test_how_far_it_is_stands_on_stderr(
    rows: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_EVERY", 0.0)
    assert preflight.main([step(request(rows), Path(sys.executable), RECIPES).argv[-1]]) == 0
    said = capsys.readouterr()
    assert f"row {COUNT} of {COUNT}" in said.err.splitlines()
    assert len(said.out.splitlines()) == 1


@pytest.mark.integration
def test_neither_torch_nor_what_engines_lack_is_imported(rows: Path) -> None:
    asked = step(request(rows), Path(sys.executable), RECIPES).argv[-1]
    code = (
        "import sys; from virc.training.preflight.process import main; main([sys.argv[1]]); "
        "print(sorted({'torch', 'transformers', 'numpy', 'pyarrow', 'typer', 'virc_cli'} & set(sys.modules)))"
    )
    words = (sys.executable, "-c", code, asked)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_rows_looked_at_closely_are_few_and_from_everywhere(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]
    line = json.dumps({"messages": turns}) + "\n"
    (tmp_path / "rows.jsonl").write_text(line * 5003)
    found = survey(get("trajectories").read(only_source(tmp_path / "rows.jsonl")), lambda row: ())
    numbers = [row.number for row in found.kept]
    assert numbers[:FIRST] == list(range(1, FIRST + 1))
    assert numbers[-1] == found.rows == 5003
    assert 200 < len(numbers) < 2 * 200 + FIRST + 1
    between = numbers[FIRST:-1]
    assert {b - a for a, b in itertools.pairwise(between)} == {16}
