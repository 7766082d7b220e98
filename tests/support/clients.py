"""The clients of the agent endpoint that `tests/serving/clients/` asks with, and what of each was recorded.

A client is a script in its own language. It asks the question of the README about `figure.png`, at the address in it,
and prints one JSON object: API (`chat`, `responses`) -> way of asking (`whole`, `stream`, `json_schema`, `tool`) -> the
`answer`, and `thoughts` and `calls` where the client shows them. The comments at its start have its name, one line
`packages:` for each environment that it is run in, `gigabytes:` where that is large, and notes. `docs/clients.md` has a
row for it, and shows its lines from `docs` to `end`, which say more than the address, the key and the model's name.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "serving" / "clients"
RECORDED = FOLDER / "recorded.json"
ADDRESS = "http://127.0.0.1:8000/v1"
KEY = "KEY"
_SHOWN = re.compile(r"^(?:#|//) docs\n(.*?)^(?:#|//) end$", re.MULTILINE | re.DOTALL)
_FENCES = {".py": "python", ".mjs": "js", ".sh": "yaml"}


class Client(NamedTuple):
    """A script, and one environment that it is run in."""

    file: Path
    packages: tuple[str, ...]

    @property
    def id(self) -> str:
        """The key of what is recorded; with another version it is another one."""
        return f"{self.file.name}: {' '.join(self.packages)}"

    @property
    def version(self) -> str:
        return re.split("==|@", self.packages[0])[-1]


def scripts() -> list[Path]:
    """All scripts, by the names of their clients."""
    return sorted((file for file in FOLDER.iterdir() if file.suffix in _FENCES), key=lambda file: name(file).lower())


def every() -> list[Client]:
    return [Client(file, tuple(line.split())) for file in scripts() for line in _said(file, "packages")]


def name(file: Path) -> str:
    (found,) = _said(file, "client")
    return found


def notes(file: Path) -> list[str]:
    return _said(file, "note")


def gigabytes(file: Path) -> bool:
    """Whether its environment is that large."""
    return bool(_said(file, "gigabytes"))


def shown(file: Path) -> tuple[str, str] | None:
    """What a user types, and its language; None: the page only links the script."""
    part = _SHOWN.search(file.read_text(encoding="utf-8"))
    if not part:
        return None
    return part[1], "yaml" if re.search(r"^ *- \w+:", part[1], re.MULTILINE) else _FENCES[file.suffix]


def recorded() -> dict[str, Any]:
    """Client -> `date`, and `ways`: API -> way -> the parts of the answer that arrived."""
    found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    return found


def record(client: Client, date: str, ways: dict[str, Any]) -> None:
    """Write what a client was seen to do; clients that are no more are dropped."""
    found = {**recorded(), client.id: {"date": date, "ways": ways}}
    kept = {each.id: found[each.id] for each in every() if each.id in found}
    RECORDED.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _said(file: Path, what: str) -> list[str]:
    return re.findall(rf"^(?:#|//) {what}: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
