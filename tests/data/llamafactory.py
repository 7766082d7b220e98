"""What LLaMA-Factory 0.9.5 makes of a conversation row: its rules written down once more, for tests to compare with.

Only what it does with `"formatting": "sharegpt"`; a row that it drops is None, one that stops it raises.
"""

from typing import Any, NamedTuple

_COLUMNS = {"messages": "conversations", "images": None, "system": None}
_TAGS = {
    "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
    "observation_tag": "observation", "function_tag": "function_call", "system_tag": "system",
}  # fmt: skip


class Example(NamedTuple):
    """What is trained on."""

    system: str
    turns: list[tuple[str, str]]
    images: list[Any]


def example(entry: dict[str, Any], row: dict[str, Any]) -> Example | None:
    """The example of a row, by its dataset's entry in `dataset_info.json`."""
    columns = {key: entry["columns"].get(key) for key in _COLUMNS} if "columns" in entry else _COLUMNS
    tags = {key: entry["tags"].get(key) for key in _TAGS} if "tags" in entry else _TAGS
    turns = row[columns["messages"]]
    role, content = tags["role_tag"], tags["content_tag"]
    if tags["system_tag"] and turns and turns[0][role] == tags["system_tag"]:
        system, turns = turns[0][content], turns[1:]
    else:
        system = (row.get(columns["system"]) if columns["system"] else "") or ""
    sides = (("user_tag", "observation_tag"), ("assistant_tag", "function_tag"))
    found = []
    for number, turn in enumerate(turns):
        side = [key for key in sides[number % 2] if tags[key] == turn[role]]
        if not side:
            return None
        found.append((side[0].removesuffix("_tag"), turn[content]))
    if len(found) % 2 or not found:
        return None
    images = row.get(columns["images"]) if columns["images"] else None
    return Example(system, found, [] if images is None else images if isinstance(images, list) else [images])
