"""Which columns of a row name clips or documents, and the files that they name."""

from collections.abc import Iterator, Mapping
from typing import Any

from virc.reasoning.media import PLACES
from virc.solving.sources.columns import MEDIA, key_of

PICTURES = ("images", "image", "image_path", "image_paths", "frames")
"""Columns of pictures, which rows of clips may have beside them, or other rows of their file in their place."""
PATH, _KIND = "path", "data_type"
"""Columns of Video-R1: the file of a clip or picture, and which of the two it is."""
_CLIPS = tuple(".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mpg .mpeg .vob .wmv .flv .ogv .pdf".split())
OF_CLIP = ("video", "path", "bytes", "document")
"""Keys under which an object has the name or the bytes of a clip."""
_MAX_NAME = 1024


def columns_of_media(row: Mapping[str, Any]) -> Iterator[str]:
    """The columns of a row with clips or documents; none where it has their frames already."""
    if row.get(PLACES):
        return
    has_pictures = any(row.get(name) for name in PICTURES)
    for name, value in row.items():
        if not may_name_media(name):
            continue
        files = [*files_in(value)]
        # a name without an ending is a clip's where the row has nothing else to show; a text is no name
        is_video = key_of(name).startswith("video") or (name == PATH and row.get(_KIND) == "video")
        is_clip = any(isinstance(each, str) and each.lower().endswith(_CLIPS) for each in files)
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
        yield next((value[key] for key in OF_CLIP if value.get(key)), value)
    elif value:
        yield value


def _may_be_file(value: object) -> bool:
    return isinstance(value, bytes | Mapping) or (
        isinstance(value, str) and len(value) < _MAX_NAME and "\n" not in value
    )
