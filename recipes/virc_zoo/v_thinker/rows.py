"""Conversations of V-Thinker's second stage get the system message that its script names (scripts/sft.sh, --system)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.systems import texts


def rows(
    row: Mapping[str, Any], number: int, layout: str, folder: Path, own: Path = Path(__file__).parent
) -> Iterator[Mapping[str, Any]]:
    """Yield the row; one as released, or a conversation with code without a system message, with that of the system."""
    if layout == "released":
        row = {**row, "system": texts.text(own, "system")}
    messages = row.get("messages")
    if layout == "sft" and isinstance(messages, list) and messages and messages[0].get("role") == "user":
        row = {**row, "messages": [{"role": "system", "content": texts.text(own, "system")}, *messages]}
    yield row
