"""What an entry of `dataset_info.json` makes LLaMA-Factory do with all rows of its file.

Written from what 0.9.5 does: where an entry has `columns` or `tags`, whatever they do not name is not there for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from virc.core.text import plain
from virc.data.check.verdict import Fault
from virc.data.formats.registry import Source

_DROPPED = "LLaMA-Factory drops every row"
_UNNAMED = {
    "role_tag": "LLaMA-Factory stops at the first row",
    "content_tag": "LLaMA-Factory stops at the first row",
    "user_tag": _DROPPED,
    "assistant_tag": _DROPPED,
    "system_tag": "LLaMA-Factory drops every row with a system message",
}

_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_FOREIGN = ("tools", "videos", "audios", "chosen", "rejected", "kto_tag")


def check(source: Source) -> Iterator[Fault]:
    """The faults of the entry of a file, if it has one."""
    if not source.info:
        return
    form = source.info.get("formatting")
    if form == "openai":
        said = "formatting openai makes LLaMA-Factory write 'detailed thinking off' into every system message"
        yield Fault("formatting", f"{said}: the model learns another chat protocol; name sharegpt")
    elif form != "sharegpt":
        named = f"formatting {plain(form, 40)!r}" if form is not None else "an entry without formatting"
        yield Fault("formatting", f"{named} is not read as messages, so {_DROPPED} or stops; name sharegpt")
    yield from _columns(source.info)
    yield from _tags(source.info)
    yield from _others(source.info)


def _others(info: Mapping[str, Any]) -> Iterator[Fault]:
    """Keys and columns that make LLaMA-Factory train on other things than conversations with images in this file."""
    columns = info.get("columns")
    columns = columns if isinstance(columns, dict) else {}
    for key in _ELSEWHERE:
        if info.get(key):
            yield Fault("entry", f"{key} is named, so LLaMA-Factory does not read the file")
    if info.get("num_samples") is not None:
        yield Fault("entry", "num_samples makes LLaMA-Factory draw that many rows at random")
    if info.get("ranking"):
        yield Fault("entry", "ranking is on: LLaMA-Factory stops, as that is for another kind of training")
    if info.get("split", "train") != "train":
        yield Fault("entry", f"there is no split {plain(info['split'], 40)} of a file, only train")
    for column in _FOREIGN:
        if columns.get(column):
            yield Fault("entry", f"columns name {column}, of which this project knows nothing")


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
