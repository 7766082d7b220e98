"""Records of any kind, and how they are written and read by formats of text."""

from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from virc.data.formats import registry as formats
from virc.data.formats.registry import Writing
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Message, Picture, Record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["<image>\n<image>", 'a "b" \\'])
OURS = {"id", "messages", "conversations", "images", "image", "question", "answer", "choices"}
PICTURES = st.builds(
    Picture,
    name=st.sampled_from(["", "images/a.png", "b.jpg", "../c.png", "/d.png", "images/é ü.PNG"]) | TEXT,
    data=st.sampled_from([b"\x89PNG 1", b"\xff\xd8\xff 2", b"", b"other"]),
)


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2), max_leaves=4
    )


def extras(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(text.filter(lambda key: key not in OURS), values(text), max_size=2)


MESSAGES = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1, max_size=5)
SOLVED = st.builds(
    Record,
    messages=MESSAGES.map(tuple),
    images=st.lists(PICTURES, max_size=3).map(tuple),
    id=st.none() | st.integers() | TEXT,
    question=st.none() | TEXT,
    answer=st.none() | TEXT,
    extra=extras(TEXT),
)
FILLED = TEXT.filter(str.strip)
CHOICES = st.lists(FILLED | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3)


@st.composite
def problems(draw: st.DrawFn) -> Record:
    """A problem whose answer is one of its choices, if it has any: another may be read as the number of one."""
    extra = draw(extras(TEXT)) | draw(st.fixed_dictionaries({}, optional={"choices": CHOICES}))
    offered = [each for each in extra.get("choices", ()) if isinstance(each, str)]
    return Record(
        images=tuple(draw(st.lists(PICTURES, min_size=1, max_size=3))),
        id=draw(st.integers() | TEXT),
        question=draw(FILLED),
        answer=draw(st.none() | (st.sampled_from([*offered, None]) if extra.get("choices") else TEXT)),
        extra=extra,
    )


PROBLEM = problems()


def written(format: ModuleType, records: list[Record], folder: Path) -> list[ParsedRow]:
    """The rows of records that were written so, found as a user's are."""
    writing = Writing(PictureStore(folder))
    assert format.write(folder, "rows", records, writing) == len(records)
    (source,) = [source for source in formats.sources(folder) if source.name == "rows"]
    assert source.format == format.NAME
    return list(format.read(source))
