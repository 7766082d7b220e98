"""What a user's mistake is answered with: tables of command, exit code, sentence and hint in `sentences/`.

A row runs in an empty folder that has `figure.png` and the row's own `files` (name: text, or name: null for a folder).
`error` and `hint` are the whole printed lines; `{folder}` in them and in the command stands for that folder.
"""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from support.called import virc
from support.entry import ROOT

TABLES = sorted((Path(__file__).parent / "sentences").glob("*.yaml"))
TABLES += sorted((ROOT / "tests" / "extras").glob("*/sentences.yaml")) if find_spec("virc_extras") else []
ROWS = [
    pytest.param(row, id=f"{table.stem}: {row['run']}"[:80])
    for table in TABLES
    for row in yaml.safe_load(table.read_text("utf-8"))
]


@pytest.mark.parametrize("row", ROWS)
def test_a_mistake_is_answered_by_its_sentence(
    row: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (120, 90), "white").save("figure.png")
    for name, text in row.get("files", {}).items():
        file = Path(name)
        (file if text is None else file.parent).mkdir(parents=True, exist_ok=True)
        if text is not None:
            file.write_text(text, encoding="utf-8")
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    done = virc(*(word.replace("{folder}", str(tmp_path)) for word in shlex.split(row["run"])[1:]))
    said = [line for line in done.err.splitlines() if line.startswith(("error: ", "hint: "))]
    wanted = [f"{what}: {row[what]}".replace("{folder}", str(tmp_path)) for what in ("error", "hint") if what in row]
    assert (done.code, said) == (row["code"], wanted)
    assert done.out == "", "a failure prints nothing where results are read"
    assert {file: file.read_bytes() for file in before} == before, "what the user has is as it was"
