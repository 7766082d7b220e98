"""What an entry of `dataset_info.json` makes LLaMA-Factory do with all rows of its file.

Written from what 0.9.5 does: where an entry has `columns` or `tags`, whatever they do not name is not there for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from virc_recipes.clauses import plain
from virc_recipes.data.checks.verdict import Fault
from virc_recipes.data.layouts import Source

_DROPPED = "LLaMA-Factory drops every row"
_UNNAMED = {
    "role_tag": "LLaMA-Factory stops at the first row",
    "content_tag": "LLaMA-Factory stops at the first row",
    "user_tag": _DROPPED,
    "assistant_tag": _DROPPED,
    "system_tag": "LLaMA-Factory drops every row with a system message",
}


def check(source: Source) -> Iterator[Fault]:
    """The faults of the entry of a file, if it has one."""
    if not source.info:
        return
    form = source.info.get("formatting")
    if form == "openai":
        said = "formatting openai makes LLaMA-Factory write 'detailed thinking off' into every system message"
        yield Fault("formatting", f"{said}: the model learns another wording; name sharegpt")
    elif form != "sharegpt":
        named = f"formatting {plain(form, 40)!r}" if form is not None else "an entry without formatting"
        yield Fault("formatting", f"{named} is not read as messages, so {_DROPPED} or stops; name sharegpt")
    yield from _columns(source.info)
    yield from _tags(source.info)


def _columns(info: Mapping[str, Any]) -> Iterator[Fault]:
    columns = info.get("columns")
    if not isinstance(columns, dict):
        yield Fault(
            "columns", "no columns are named, so LLaMA-Factory sees no images: name messages and images"
        )
        return
    if not columns.get("messages"):
        yield Fault("columns", "columns name no messages: LLaMA-Factory stops at the first row")
    if not columns.get("images"):
        yield Fault("columns", "columns name no images: LLaMA-Factory sees none, and stops at the first mark")


def _tags(info: Mapping[str, Any]) -> Iterator[Fault]:
    tags = info.get("tags")
    if not isinstance(tags, dict):
        return
    for tag, follows in _UNNAMED.items():
        if not tags.get(tag):
            yield Fault("tags_unnamed", f"tags name no {tag}: {follows}")
