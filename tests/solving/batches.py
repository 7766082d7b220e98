"""What the tests of batches share: rows, their problems, and answers that echo them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.servers import Body
from support.solving import answer

Rows = Sequence[object]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(body: Body) -> str:
    """The question of a request."""
    text: str = body["messages"][1]["content"][-1]["text"]
    return text.partition("Question: ")[2].partition("\n")[0]


def echo(body: Body) -> str:
    """Answers with the question."""
    return answer(asked(body))


def problems(image: Path, *names: object, **fields: object) -> list[dict[str, object]]:
    return [{"id": name, "image": str(image), "question": f"q {name}", **fields} for name in names]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
