"""Rows of REVISOR: the question that is asked again with the frames of its own look alone.

Source: SeerRay-Lab/REVISOR@7bc36fa, verl/utils/dataset/rl_dataset.py, __getitem__.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.systems import texts


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row; that of a question on a clip, which is no search for a span, with its column `second_question`."""
    if row.get("data_source") != "example":
        yield row
        return
    here = Path(__file__).parent
    asked = str(row["question"]).split(texts.filled("{text:duration}", here), maxsplit=1)[0]
    yield {**row, "second_question": f"{asked}\n{texts.filled('{text:second}', here)}"}
