"""Rows of HoneyBee: those of OpenThoughts3 are text alone; a CSV file, as on the hub, has an empty path there."""

from typing import Any


def rows(row: dict[str, Any], *_: object) -> list[dict[str, Any]]:
    """The row, without a picture where its path is empty."""
    return [{**row, "image_path": row.get("image_path") or None}]
