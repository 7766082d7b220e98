"""The look through a stage's rows as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from stage_rows import copied, drawn, request

import virc
from virc.core.errors import ConfigError, DataError
from virc.training.preflight.process import main, read_failure, step
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
        read_failure(printed(request(broken)))
    assert "--clean" in (error.value.hint or "")
    with pytest.raises(ConfigError, match=r"config\.json"):
        read_failure(printed(request(rows, base=tmp_path)))


def test_what_a_tool_prints_is_no_result(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "turn.py").write_text("print('noise')\n")
    asked = msgspec.structs.replace(request(rows), loads=(str(tmp_path / "turn.py"),))
    main([step(asked, Path(sys.executable), RECIPES).argv[-1]])
    printed = capsys.readouterr()
    assert printed.err == "noise\n"
    with pytest.raises(ConfigError, match=r"turn\.py is not a tool"):
        read_failure(printed.out)


def test_a_chat_protocol_that_lets_images_go_is_not_trained(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forgets = copied(rows, tmp_path / "rows", lambda rows: None)
    protocol = forgets.parent / "virc_protocol.json"
    protocol.write_bytes(msgspec.json.encode({**msgspec.json.decode(protocol.read_bytes()), "images_stay": 1}))
    main([step(request(forgets), Path(sys.executable), RECIPES).argv[-1]])
    with pytest.raises(ConfigError, match="`images_stay` of the chat protocol is 1"):
        read_failure(capsys.readouterr().out)


@pytest.mark.integration
def test_what_a_library_or_child_of_a_tool_prints_is_no_result(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "turn.py").write_text("import os\nos.write(1, b'from C\\n')\nos.system('echo from a child')\n")
    planned = step(
        msgspec.structs.replace(request(rows), loads=(str(tmp_path / "turn.py"),)), Path(sys.executable), RECIPES
    )
    done = subprocess.run(planned.argv, env={**os.environ, **planned.env}, capture_output=True, text=True, check=True)
    assert done.stderr == "from C\nfrom a child\n"
    with pytest.raises(ConfigError, match=r"turn\.py is not a tool"):
        read_failure(done.stdout)


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
