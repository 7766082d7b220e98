"""Which columns and parts of a row name clips or documents, and the files that they name."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from virc.data.rows.record import MARK
from virc.reasoning.media import PLACES
from virc.solving.sources.columns import MEDIA, key_of

PICTURES = ("images", "image", "image_path", "image_paths", "frames")
"""Columns of pictures, which rows of clips may have beside them, or other rows of their file in their place."""
PATH, _KIND = "path", "data_type"
"""Columns of Video-R1: the file of a clip or picture, and which of the two it is."""
_CLIPS = tuple(".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mpg .mpeg .vob .wmv .flv .ogv .pdf".split())
OF_CLIP = ("bytes", "video", "path", "document", "video_url", "url")
"""Keys under which an object has the bytes or the name of a clip; `Video` of `datasets` has a path beside the bytes."""
_MOVING = (".gif", ".webp", ".apng")  # are clips in columns of clips
TALKS = ("messages", "conversations", "prompt")
_INLINE = re.compile(r"<video>([^<>\n]{1,1024})</video>")  # of ms-swift
_PARTS = {"video": "<video>", "video_url": "<video>", "image": MARK, "image_url": MARK}  # of Qwen and TRL
_MAX_NAME = 1024


def media_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row with clips or documents, those of its turns as `videos`; none if it has their frames."""
    row = spread(row)
    return {name: row[name] for name in columns_of_media(row)}


def spread(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose turns have a mark for each clip and picture that they name, which stand in columns then."""
    found: dict[str, list[Any]] = {"<video>": [], MARK: []}
    talks = {name: [_marked(each, found) for each in row[name]] for name in TALKS if isinstance(row.get(name), list)}
    if all(new is old for name, turns in talks.items() for new, old in zip(turns, row[name], strict=True)):
        return row
    columns = {"videos": found["<video>"], "images": found[MARK]}
    return {**row, **talks, **{name: [*(row.get(name) or ()), *files] for name, files in columns.items() if files}}


def _marked(turn: Any, found: Mapping[str, list[Any]]) -> Any:
    """A turn with marks, whose files are added to those `found`; unchanged where it has none, or others than these."""
    key = next((key for key in ("content", "value") if isinstance(turn, Mapping) and turn.get(key)), "")
    content = turn[key] if key else None
    if isinstance(content, str) and (names := _INLINE.findall(content)):
        found["<video>"].extend(names)
        return {**turn, key: _INLINE.sub("<video>", content)}
    if not isinstance(content, list) or not all(isinstance(each, Mapping) for each in content):
        return turn
    kinds = [each.get("type") for each in content]
    if not {"video", "video_url"} & {*kinds} or not {*kinds} <= {"text", *_PARTS}:
        return turn
    for part, kind in zip(content, kinds, strict=True):
        if kind != "text" and (file := part.get(kind)):  # else it stands in a column
            of_clip = {name: value for name, value in part.items() if value is not None}
            found[_PARTS[kind]].append(of_clip if _PARTS[kind] != MARK else file)
    return {**turn, key: "".join(_PARTS.get(each["type"]) or str(each.get("text")) for each in content)}


def columns_of_media(row: Mapping[str, Any]) -> Iterator[str]:
    """The columns of a row, which is spread, with clips or documents; none where it has their frames already."""
    if row.get(PLACES):
        return
    has_pictures = any(row.get(name) for name in PICTURES)
    for name, value in row.items():
        if not may_name_media(name):
            continue
        files = [*files_in(value)]
        # a name without an ending is a clip's where the row has nothing else to show; a text is no name
        is_video = key_of(name).startswith("video") or (name == PATH and row.get(_KIND) == "video")
        endings = _CLIPS + _MOVING * is_video
        is_clip = any(isinstance(each, str) and each.lower().endswith(endings) for each in files)
        if is_clip or (is_video and files and not has_pictures and all(map(_may_be_file, files))):
            yield name


def may_name_media(column: str) -> bool:
    return key_of(column) in MEDIA or column == PATH


def files_in(value: object) -> Iterator[object]:
    """The names and bytes in a column, which has one or several, in objects or lists."""
    if isinstance(value, list):
        for each in value:
            yield from files_in(each)
    elif isinstance(value, Mapping):
        named = next((value[key] for key in OF_CLIP if value.get(key)), None)
        yield from files_in(named) if named else [value]
    elif value:
        yield value


def _may_be_file(value: object) -> bool:
    return isinstance(value, bytes | Mapping) or (
        isinstance(value, str) and len(value) < _MAX_NAME and "\n" not in value
    )
