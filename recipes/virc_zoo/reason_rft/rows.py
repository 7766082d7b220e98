"""Problems of Reason-RFT are asked with the sentences of their task: prompt.py."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.data.rows.laid_out import short
from virc.systems import texts


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row; a problem with the sentences of its task, and of its kind of answer."""
    answer = row.get("solution") or row.get("answer")
    match layout:
        case "count":
            asked = "{question} {text:count}"
        case "structure":
            asked = "{question} {text:choice}" if short(str(answer)) in {*"ABCD"} else "{question} {text:number}"
        case "transform":
            asked = "{text:rules}{question} {text:general}\n"
        case _:
            yield row
            return
    before, _, behind = asked.partition("{question}")
    around = (texts.filled(part, Path(__file__).parent) for part in (before, behind))
    yield {**row, "problem": row["problem"].join(around)}
