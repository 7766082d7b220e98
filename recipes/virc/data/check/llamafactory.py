"""What an entry of `dataset_info.json` makes LLaMA-Factory 0.9.5 stop at, or drop with no more than a warning."""

from collections.abc import Iterator, Mapping
from typing import Any

from virc.core.text import plain
from virc.data.check.result import Fault
from virc.data.formats import pairs
from virc.data.formats.registry import RowsFile

_DROPPED = "LLaMA-Factory drops every row"
_STOPS = "LLaMA-Factory stops at the first row"
_TAGS = {"role_tag": _STOPS, "content_tag": _STOPS, "user_tag": _DROPPED, "assistant_tag": _DROPPED}
"""What follows where an entry has tags and leaves one out."""
_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_FOREIGN = ("tools", "videos", "audios", "chosen", "rejected", "kto_tag")


def check_entry(source: RowsFile) -> Iterator[Fault]:
    """What the entry of a file in `dataset_info.json`, if it has one, makes LLaMA-Factory do with all its rows.

    Where an entry has `columns` or `tags`, LLaMA-Factory ignores whatever they do not name.
    """
    if not source.info:
        return
    form = source.info.get("formatting")
    if form == "openai":
        said = "formatting openai makes LLaMA-Factory write 'detailed thinking off' into every system message"
        yield Fault("formatting", f"{said}: the model learns another chat protocol; name sharegpt")
    elif form != "sharegpt":
        named = f"formatting {plain(form, 40)!r}" if form is not None else "an entry without formatting"
        yield Fault("formatting", f"{named} is not read as messages, so {_DROPPED} or stops; name sharegpt")
    columns = source.info.get("columns")
    if not isinstance(columns, dict):
        yield Fault("columns", "no columns are named, so LLaMA-Factory sees no images: name messages and images")
        columns = {}
    else:
        if not columns.get("messages"):
            yield Fault("columns", f"columns name no messages: {_STOPS}")
        if not columns.get("images"):
            yield Fault("columns", "columns name no images: LLaMA-Factory sees none, and stops at the first mark")
    ranked = source.format == pairs.NAME
    if ranked:
        yield from (
            Fault("columns", f"columns name no {side}: {_STOPS}") for side in pairs.SIDES if not columns.get(side)
        )
    tags = source.info.get("tags")
    for tag, follows in _TAGS.items():
        if isinstance(tags, dict) and not tags.get(tag):
            yield Fault("tags_unnamed", f"tags name no {tag}: {follows}")
    yield from _others(source.info, columns, ranked)


def _others(info: Mapping[str, Any], columns: Mapping[str, Any], ranked: bool) -> Iterator[Fault]:
    for key in _ELSEWHERE:
        if info.get(key):
            yield Fault("entry", f"{key} is named, so LLaMA-Factory does not read the file")
    if info.get("num_samples") is not None:
        yield Fault("entry", "num_samples makes LLaMA-Factory draw that many rows at random")
    if info.get("ranking") and not ranked:
        yield Fault("entry", "ranking is on: LLaMA-Factory stops, as that is for another kind of training")
    if ranked and not info.get("ranking"):
        yield Fault("entry", f"ranking is not on, which rows of pairs need: {_DROPPED}")
    if info.get("split", "train") != "train":
        yield Fault("entry", f"there is no split {plain(info['split'], 40)} of a file, only train")
    for column in _FOREIGN:
        if columns.get(column) and not (ranked and column in pairs.SIDES):
            yield Fault("entry", f"columns name {column}, which virc does not support")
