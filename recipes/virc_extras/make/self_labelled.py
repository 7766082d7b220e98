"""Shared by operators that make questions whose answers follow from the picture, such as its rotation."""

from collections.abc import Sequence
from typing import Any

from virc_extras.make.operator import Means, Row

MIN_SIDE = 28
"""Fewest pixels of a side of a picture or a piece that is shown, as published."""
FORMAT = "Reason step by step within <think> </think>, then write {} within <answer> </answer> and nothing else."


def first(row: Row, means: Means[Any]) -> Any:
    name = row.images[0]
    return {"bytes": means.data(row), "path": ""} if name[:5].lower() == "data:" else name


def asked(row: Row, images: Sequence[Any], question: str, answer: str, source: str) -> dict[str, Any]:
    """The columns of a new row; `source` names the task, as the reward of SSL4RL reads it."""
    return {"id": row.id, "images": list(images), "question": question, "answer": answer, "data_source": source}
