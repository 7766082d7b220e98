"""Rows of COCO, and of files in its form: a row for each picture and each category in it, or for each caption."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from virc.config import taken
from virc.core.errors import DataError
from virc.core.files import contents
from virc.core.json_stream import MEMBERS, check_keys
from virc.core.tables.parquet import Read
from virc.core.text import clause, plain

_HEAD = 2**16
_MAX_BYTES = 2**31  # of all of it rows are made at once
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_MAX_NAMED = 5
_NEUTRAL = {"bbox_mode": 1}  # XYWH_ABS of detectron2; of other fields 0
Kind = TypeVar("Kind", bound=msgspec.Struct)


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int | str | None = None
    bbox: list[float] | None = None
    iscrowd: Any = 0
    ignore: Any = 0
    caption: str | None = None


class _Category(msgspec.Struct):
    id: int | str
    name: str


Lists = Mapping[str, Sequence[msgspec.Raw]]
_KINDS: Mapping[str, type[msgspec.Struct]] = {"images": _Image, "annotations": _Annotation, "categories": _Category}


def coco_in(path: Path, file: IO[bytes]) -> tuple[Lists, Collection[str]] | None:
    """The lists of a file that has been opened, and the names of what else it has; None if it is no COCO."""
    head = file.read(_HEAD)
    file.seek(0)
    with suppress(OSError, ValueError, RecursionError):
        members = MEMBERS.decode(contents(path, _MAX_BYTES)) if b'"images"' in head else {}
        if {"images", "annotations"} <= members.keys():
            lists = {name: _ELEMENTS.decode(members.get(name, b"[]")) for name in _KINDS}
            for name, kind in _KINDS.items():
                _ = [msgspec.json.decode(element, type=kind) for element in lists[name][:1]]
            others = {name: msgspec.json.decode(members[name]) for name in members.keys() - _KINDS.keys()}
            return lists, taken.left("coco", others, ())
    return None


def rows_of_coco(lists: Lists, left: Collection[str]) -> Iterator[Read]:
    """A row for each picture and each category in it, with its boxes and those of crowds apart, or for each caption.

    What virc does not know of them is in further columns: of annotations in `annotations`. Last comes the fault of what
    belongs to no row, or would be wrong in one.
    """
    lost = Counter(f"its {name}" for name in left)
    categories = [*_read("categories", lists["categories"], _Category, lost)]
    about = {each.name: {"category_info": further} for each, further in categories if further}
    images = [*_read("images", lists["images"], _Image, lost)]
    rows: dict[Any, dict[tuple[str | None, bool], dict[str, list[Any]]]] = {each.id: {} for each, _ in images}
    names: dict[Any, str] = {each.id: each.name for each, _ in categories}
    for what, all_ids, ids in (("images", len(images), rows), ("categories", len(categories), names)):
        if all_ids > len(ids):
            lost[f"{what} with the id of another"] += all_ids - len(ids)
    for each, further in _read("annotations", lists["annotations"], _Annotation, lost):
        if flaw := _flaw(each, further, rows, names):
            lost[f"annotations {flaw}"] += 1
            continue
        key = (None, True) if each.caption is not None else (names.get(each.category_id), False)
        for column, value in _columns(each, further):
            rows[each.image_id].setdefault(key, {}).setdefault(column, []).append(value)
    number = 0
    for image, further in images:
        size = {"width": image.width, "height": image.height} if image.width and image.height else {}
        of_image = rows[image.id].items()
        for (name, is_caption), columns in sorted(of_image, key=lambda row: row[0][1]):
            if not is_caption and "bbox_xywh" not in columns:
                continue  # crowds alone
            what = "What does the picture show?" if is_caption else f"Where is each {name or 'object'}?"
            asked = {"question": what, **({} if is_caption else {"category": name, **about.get(name or "", {})})}
            number += 1
            yield number, {**further, "image_id": image.id, "file_name": image.file_name, **size, **asked, **columns}
    if lost:
        listed = ", ".join(f"{what} ({count})" for what, count in lost.most_common(_MAX_NAMED))
        hint = "virc data convert with «--skip-faulty» leaves them out"
        yield number + 1, DataError(f"row {number + 1}: nothing reads {listed}", hint)


def _flaw(each: _Annotation, further: Mapping[str, Any], images: Collection[Any], names: Collection[Any]) -> str | None:
    """Why an annotation belongs to no row, or would be wrong there."""
    if each.image_id not in images:
        return "without a picture in it"
    if needed := _needed(further) or ["ignore"] * bool(each.caption is not None and each.ignore):
        return f"with {plain(', '.join(needed), 60)}"
    if each.iscrowd not in (None, 0, 1):
        return f"with iscrowd {plain(str(each.iscrowd), 20)}"
    if each.caption is not None:
        return "with a caption and a box" if each.bbox else None
    if each.bbox is None:
        return "without a box"
    return "without a category in it" if names and each.category_id not in names else None


def _columns(each: _Annotation, further: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What an annotation adds to the columns of its row."""
    if each.caption is not None:
        yield "answers", each.caption
    elif (each.iscrowd == 1 or each.ignore) and each.bbox and len(each.bbox) == 4:
        left, top, width, height = each.bbox
        yield "crowd_boxes", [left, top, left + width, top + height]
    else:
        yield "bbox_xywh", each.bbox
    if further:
        yield "annotations", further


def _read(
    edge: str, elements: Sequence[msgspec.Raw], kind: type[Kind], lost: Counter[str]
) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Each element with its further fields; of those that cannot be read `lost` gets the count."""
    for element in elements:
        try:
            fields = msgspec.json.decode(element)
            check_keys(bytes(element), fields)
            value = msgspec.convert(fields, kind)
        except (ValueError, RecursionError) as error:
            lost[f"{edge} that cannot be read ({clause(error)})"] += 1
            continue
        yield value, {name: fields[name] for name in taken.left(f"coco.{edge}", fields, kind.__struct_fields__)}


def _needed(fields: Mapping[str, Any]) -> list[str]:
    """The names of fields without which a box would be another one; those of CVAT are in `attributes`."""
    inner = fields.get("attributes")
    every = {**inner, **fields} if isinstance(inner, dict) else fields
    return [
        name
        for name, value in every.items()
        if taken.is_refused("coco.annotations", name) and value != _NEUTRAL.get(name, 0)
    ]
