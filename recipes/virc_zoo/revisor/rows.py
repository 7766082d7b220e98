"""Rows of REVISOR: those of its data set, and the question that is asked again with the frames of its own look alone.

Source: SeerRay-Lab/REVISOR@7bc36fa, verl/utils/dataset/rl_dataset.py, __getitem__; scripts/upload_to_huggingface.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.systems import texts
from virc.systems.layouts.layout import listed


def with_clips(row: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A row of REVISOR-25k in the columns of the parquets that the scripts write; one of those as it is."""
    if not {"conversations", "video", "data_source", "ground_truth"} <= row.keys():
        return row
    asked = {"prompt": listed(row["conversations"]), "videos": [{"fps": 1, "video": row["video"]}]}
    return {"data_source": row["data_source"], **asked, "reward_model": {"ground_truth": row["ground_truth"]}}


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with a line break before its question; that of a question on a clip, which is no search for a
    span, with its column `second_question`.
    """
    here, question = Path(__file__).parent, str(row["question"])
    row = {**row, "question": f"\n{question}"}
    if row.get("data_source") == "example":
        asked = question.split(texts.filled("{text:duration}", here), maxsplit=1)[0]
        row["second_question"] = f"{asked}\n{texts.filled('{text:second}', here)}"
    yield row
