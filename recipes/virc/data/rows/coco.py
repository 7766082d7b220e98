"""Rows of COCO, and of files in its form: a row for each picture and each category in it, or for each caption."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec

from virc.core import taken
from virc.core.errors import DataError
from virc.core.files import contents
from virc.core.json_stream import MEMBERS, check_keys
from virc.core.tables.parquet import Read
from virc.core.text import clause, plain

_HEAD = 2**16
_MAX_BYTES = 2**31  # of all of it rows are made at once
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
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


class Coco(NamedTuple):
    """The elements of its lists as they are written, and the names of what else it has."""

    images: Sequence[msgspec.Raw]
    annotations: Sequence[msgspec.Raw]
    categories: Sequence[msgspec.Raw]
    left: tuple[str, ...]


def coco_in(path: Path, file: IO[bytes]) -> Coco | None:
    """The images and annotations in a file that has been opened; None if it is no COCO."""
    head = file.read(_HEAD)
    file.seek(0)
    with suppress(OSError, ValueError, RecursionError):
        members = MEMBERS.decode(contents(path, _MAX_BYTES)) if b'"images"' in head else {}
        if {"images", "annotations"} <= members.keys():
            lists = [_ELEMENTS.decode(members.get(name, b"[]")) for name in ("images", "annotations", "categories")]
            for elements, kind in zip(lists, (_Image, _Annotation, _Category), strict=True):
                _ = [msgspec.json.decode(element, type=kind) for element in elements[:1]]
            others = {name: msgspec.json.decode(members[name]) for name in members.keys() - Coco.__annotations__.keys()}
            return Coco(*lists, taken.left("coco", others, ()))
    return None


def rows_of_coco(found: Coco) -> Iterator[Read]:
    """A row for each picture and each category in it, with its boxes and those of crowds apart, or for each caption.

    What virc does not know of them is in further columns: of annotations in `annotations`. Last comes the fault of what
    belongs to no row, or would be wrong in one.
    """
    lost = Counter(f"its {name}" for name in found.left)
    categories = [*_read("categories", found.categories, _Category, lost)]
    names: dict[Any, str] = {each.id: each.name for each, _ in categories}
    about = {each.name: further for each, further in categories if further}
    images = [*_read("images", found.images, _Image, lost)]
    known = {each.id for each, _ in images}
    marked: dict[Any, dict[Any, list[list[float]]]] = {}
    crowds: dict[tuple[Any, str | None], list[list[float]]] = {}
    captions: dict[Any, list[str]] = {}
    others: dict[tuple[Any, str | None, bool], list[dict[str, Any]]] = {}
    for each, further in _read("annotations", found.annotations, _Annotation, lost):
        name, is_caption = names.get(each.category_id), each.caption is not None
        if each.image_id not in known:
            lost["annotations without a picture in it"] += 1
        elif needed := _needed(further) or ["ignore"] * bool(is_caption and each.ignore):
            lost[f"annotations with {plain(', '.join(needed), 60)}"] += 1
        elif each.caption is not None:
            captions.setdefault(each.image_id, []).append(each.caption)
        elif each.bbox is None:
            lost["annotations without a box"] += 1
        elif names and each.category_id not in names:
            lost["annotations without a category in it"] += 1
        elif (each.iscrowd == 1 or each.ignore) and len(each.bbox) == 4:
            left, top, width, height = each.bbox
            crowds.setdefault((each.image_id, name), []).append([left, top, left + width, top + height])
        else:
            marked.setdefault(each.image_id, {}).setdefault(name, []).append(each.bbox)
        if further:
            others.setdefault((each.image_id, name, is_caption), []).append(further)
    number = 0
    for image, further in images:
        questions: list[dict[str, Any]] = [
            {"question": f"Where is each {name or 'object'}?", "category": name, "bbox_xywh": boxes}
            | ({"crowd_boxes": crowd} if (crowd := crowds.get((image.id, name))) else {})
            | ({"category_info": about[name]} if name in about else {})
            | ({"annotations": more} if (more := others.get((image.id, name, False))) else {})
            for name, boxes in marked.get(image.id, {}).items()
        ]
        if image.id in captions:
            questions.append(
                {"question": "What does the picture show?", "answers": captions[image.id]}
                | ({"annotations": more} if (more := others.get((image.id, None, True))) else {})
            )
        for asked in questions:
            number += 1
            size = {"width": image.width, "height": image.height} if image.width and image.height else {}
            yield number, {**further, "image_id": image.id, "file_name": image.file_name, **size, **asked}
    if lost:
        listed = ", ".join(what if what.startswith("its ") else f"{count} {what}" for what, count in lost.items())
        yield (
            number + 1,
            DataError(
                f"row {number + 1}: nothing reads {listed}", "virc data convert with «--skip-faulty» leaves them out"
            ),
        )


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
        yield value, {name: fields[name] for name in taken.left(edge, fields, kind.__struct_fields__)}


def _needed(fields: dict[str, Any]) -> list[str]:
    """The names of fields without which a box would be another one; those of CVAT are in `attributes`."""
    inner = fields.get("attributes")
    every = {**inner, **fields} if isinstance(inner, dict) else fields
    return [
        name
        for name, value in every.items()
        if taken.is_refused("annotations", name) and value != _NEUTRAL.get(name, 0)
    ]
