"""RL rows and prompts in parquet: what is written comes back, in columns that verl takes, and images stand once."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from data.parquet_sets import ANSWER, CALL, example, known, placed, with_bytes, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import crux

from virc.data.formats import prompts, rl
from virc.data.formats import registry as formats
from virc.data.rows import verl as verl_rows
from virc.data.rows.record import PLACEHOLDERS, Message, Picture, Record

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not PLACEHOLDERS.search(text) and "<image>" not in text
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
names = words.filter(lambda name: name not in verl_rows.OF_ROW) | st.sampled_from(["ability", "style", "id"])


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Trajectories as SFT files hold them, whole or up to a user message."""
    units = draw(st.integers(1, 4))
    shown = [draw(st.integers(0, 2)) for _ in range(units)]
    messages = [Message("system", draw(words))] if draw(st.booleans()) else []
    for count in shown:
        messages.append(Message("user", "<image>" * count + draw(words)))
        messages.append(Message("assistant", draw(st.sampled_from([CALL, ANSWER]) | words.filter(bool))))
    if draw(st.booleans()):
        messages.pop()
    images = tuple(Picture(f"images/{draw(st.integers(0, 5))}.png") for _ in range(sum(shown)))
    extra = draw(st.dictionaries(names, values, max_size=3))
    return Record(tuple(messages), images, draw(st.none() | st.integers() | words), draw(words), draw(words), extra)


trajectories = st.lists(records(), max_size=3, unique_by=lambda record: repr(record.id))
"""Of one id, the beginning of another trajectory would be a part of it."""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset's folder with six images."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "images").mkdir()
    for number in range(6):
        (folder / f"images/{number}.png").write_bytes(b"\x89PNG" + os.urandom(100))
    return folder


def round_trips(found: list[Record], embed: bool, media: Path, fresh: Callable[[], Path]) -> None:
    there = [placed(record, media) for record in found]
    source = written(fresh(), rl, there, embed)
    units = known(list(rl.read(source)))
    assert [with_bytes(unit) for unit in units] == [with_bytes(unit) for each in there for unit in rl.split(each)]
    assert formats.sources(source.file.parent) == [source]
    source = written(fresh(), prompts, there, embed)
    back = known(list(prompts.read(source)))
    expected = [prompts.opening(record) for record in there]
    assert [with_bytes(record) for record in back] == [with_bytes(record) for record in expected]
    assert formats.sources(source.file.parent) == [source]


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    numbers = iter(range(10**6))
    return lambda: tmp_path / str(next(numbers))


@pytest.mark.integration
@given(trajectories, st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trajectories_come_back_exactly(
    media: Path, fresh: Callable[[], Path], found: list[Record], embed: bool
) -> None:
    round_trips(found, embed, media, fresh)


@pytest.mark.parametrize("embed", [False, True])
def test_columns_are_those_of_the_published_files_and_never_change_with_what_is_null(
    tmp_path: Path, media: Path, embed: bool
) -> None:
    published = pq.read_schema(crux.build(tmp_path / "crux", rows=2).train)
    full = msgspec.structs.replace(example(folder=media), extra={"choices": [1, 2]})
    bare = Record((Message("user", ""), Message("assistant", "no format")), question="", answer="")
    schemas = [
        pq.read_schema(written(tmp_path / name, rl, found, embed).file)
        for name, found in (("full", [full]), ("bare", [bare]), ("none", []))
    ]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].names == published.names
    for name in ("data_source", "prompt", "ability", "reward_model", *(["images"] if embed else [])):
        assert schemas[0].field(name).type == published.field(name).type
    ours, theirs = (found.field("extra_info").type for found in (schemas[0], published))
    for field in theirs:
        if embed or field.name != "images":
            assert ours.field(field.name).type == field.type


@pytest.mark.parametrize("embed", [False, True])
def test_every_row_has_what_verl_needs(tmp_path: Path, media: Path, embed: bool) -> None:
    source = written(tmp_path / "to", rl, [example(3, media), example(2, media, 5)], embed)
    rows = pq.read_table(source.file).to_pylist()
    assert len(rows) == 5
    for number, row in enumerate(rows):
        info = row["extra_info"]
        assert row["prompt"][-1]["role"] == "user"
        assert sum(message["content"].count("<image>") for message in row["prompt"]) == len(row["images"])
        assert info["images"] == row["images"]
        assert info["prompt"] == row["prompt"]
        assert info["index"] == number
        assert row["reward_model"]["ground_truth"] == "97"
        assert row["data_source"]
        for at, image in enumerate(row["images"]):
            data = (media / f"images/{at}.png").read_bytes()
            if embed:
                assert image == {"bytes": data, "path": f"images/{at}.png"}
            else:
                assert image == {"image": f"images/{at}.png"}
                assert (tmp_path / "to" / image["image"]).read_bytes() == data
    tools = [row["extra_info"]["tool_info_gt"] for row in rows]
    assert tools == [{"name": "crop_image"}, {"name": "crop_image"}, None, {"name": "crop_image"}, None]
    assert [row["extra_info"]["turn"] for row in rows] == [0, 1, 2, 0, 1]
    assert [row["extra_info"]["reference"] for row in rows] == [CALL, CALL, ANSWER, CALL, ANSWER]
    assert (tmp_path / "to/images").exists() is not embed


def test_rows_tell_nothing_of_where_embedded_images_lay(tmp_path: Path, media: Path) -> None:
    record = example(2)
    images = (Picture(f"{media}/images/0.png", media), Picture(f"file://{media}/images/1.png", media))
    source = written(tmp_path / "to", rl, [msgspec.structs.replace(record, images=images)], embed=True)
    paths = [picture.name for found in known(list(rl.read(source))) for picture in found.images]
    assert paths == ["0.png", "0.png", "1.png"]
