"""Parquet that others made, well or ill: each row comes as a record or with its fault, whatever the bytes are."""

import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from conftest import ROOT
from data import crux
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virc_recipes.data import layouts, parquet_rows
from virc_recipes.data.layouts import Row, Source, Writing, prompts, rl
from virc_recipes.data.pictures import PictureStore
from virc_recipes.data.record import Message, Picture, Record
from virc_recipes.errors import DataError, SetupError

PROMPT = [{"role": "user", "content": "<image>Find it."}]
IMAGE = b"\x89PNG not much"


def row(**changed: Any) -> dict[str, Any]:
    """A published row, with other values in some columns; `...` takes a column away."""
    fields = {
        "data_source": "virc", "prompt": PROMPT, "images": [{"bytes": IMAGE, "path": "a.png"}], "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "97"},
        "extra_info": {"index": 0, "question": "Find it.", "tool_info_gt": {"name": "crop_image"}},
    }  # fmt: skip
    return {name: value for name, value in (fields | changed).items() if value is not ...}


def info(**changed: Any) -> dict[str, Any]:
    return {"extra_info": {"index": 0, "question": "Find it."} | changed}


def source(tmp_path: Path, *rows: dict[str, Any], schema: Any = None) -> Source:
    path = tmp_path / "others.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return Source(path, "rl", "others")


def read(tmp_path: Path, *rows: dict[str, Any], schema: Any = None) -> list[Row]:
    return list(rl.read(source(tmp_path, *rows, schema=schema)))


def only(rows: list[Row]) -> Record:
    (found,) = rows
    assert found.record, found.fault
    return found.record


@pytest.mark.parametrize(
    ("images", "names", "data"),
    [
        ([{"bytes": IMAGE, "path": "a.png"}], ["a.png"], [IMAGE]),
        ([{"bytes": IMAGE, "path": None}], [""], [IMAGE]),
        ([{"bytes": IMAGE}], [""], [IMAGE]),
        ([{"bytes": None, "path": "i/a.png"}], ["i/a.png"], [None]),
        ([{"path": "i/a.png"}], ["i/a.png"], [None]),
        (
            [{"image": "i/a.png"}, {"image": "file:///else/b.png"}],
            ["i/a.png", "file:///else/b.png"],
            [None, None],
        ),
        ([{"image": IMAGE}], [""], [IMAGE]),
        ([IMAGE, IMAGE + b"2"], ["", ""], [IMAGE, IMAGE + b"2"]),
        (["i/a.png"], ["i/a.png"], [None]),
        ('["i/a.png"]', ["i/a.png"], [None]),
        ([], [], []),
        (None, [], []),
        (..., [], []),
    ],
)
def test_images_are_read_in_every_form(
    tmp_path: Path, images: Any, names: list[str], data: list[Any]
) -> None:
    record = only(read(tmp_path, row(images=images)))
    assert [picture.name for picture in record.images] == names
    assert [picture.data for picture in record.images] == data
    assert {picture.folder for picture in record.images} <= {tmp_path}
    assert all(picture.confined for picture in record.images)


def test_a_url_into_the_folder_becomes_a_name_in_it(tmp_path: Path) -> None:
    record = only(read(tmp_path, row(images=[{"image": f"file://{tmp_path}/i/a.png"}])))
    assert [picture.name for picture in record.images] == ["i/a.png"]


def test_an_image_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(IMAGE)
    (tmp_path / "set").mkdir()
    for name in (f"file://{tmp_path}/x.png", "../x.png", f"{tmp_path}/x.png"):
        (picture,) = only(read(tmp_path / "set", row(images=[{"image": name}]))).images
        with pytest.raises(OSError, match="outside"):
            picture.read()


@pytest.mark.parametrize(
    ("tool", "read_as"),
    [
        ({"name": "crop_image"}, {"name": "crop_image"}),
        ({"name": "crop_image", "x": {"y": 0}}, {"name": "crop_image", "x": {"y": 0}}),
        ('{"name": "crop_image"}', {"name": "crop_image"}),
        ("crop_image", {"name": "crop_image"}),
        ('"crop_image"', {"name": "crop_image"}),
        ("", None),
        ("null", None),
        ({"name": None}, None),
        ([1], None),
        (7, None),
        (None, None),
    ],
)  # fmt: skip
def test_the_reference_tool_is_read_in_every_form(tmp_path: Path, tool: Any, read_as: Any) -> None:
    record = only(read(tmp_path, row(**info(tool_info_gt=tool, reference=""))))
    assert record.extra["tool_info_gt"] == read_as


@pytest.mark.parametrize(
    ("changed", "read_as"),
    [
        ({"prompt": '[{"role": "user", "content": "<image>Find it."}]'}, {}),
        ({"prompt": ..., **info(prompt=PROMPT)}, {}),
        ({"images": ..., **info(images=[{"bytes": IMAGE, "path": "a.png"}])}, {}),
        ({"extra_info": '{"question": "Find it.", "id": 5}'}, {"id": 5}),
        ({"extra_info": ...}, {"question": None}),
        ({"reward_model": ...}, {"answer": None}),
        ({"reward_model": '{"ground_truth": "97"}'}, {}),
        ({"reward_model": {"ground_truth": 97}}, {}),
        ({"reward_model": {"ground_truth": ["97", "97.0"]}}, {"answer": '["97", "97.0"]'}),
        (info(id="x"), {"id": "x"}),
        (info(id=12), {"id": 12}),
        (info(id="12", id_is_int=True), {"id": 12}),
        (
            info(reference="said"),
            {"messages": (Message("user", "<image>Find it."), Message("assistant", "said"))},
        ),
    ],
)
def test_a_row_is_read_whichever_optional_parts_it_has(
    tmp_path: Path, changed: dict[str, Any], read_as: dict[str, Any]
) -> None:
    if changed.get("prompt") is ...:
        changed["prompt"] = None
    record = only(read(tmp_path, row(**changed)))
    expected: dict[str, Any] = {
        "messages": (Message("user", "<image>Find it."),), "id": None, "question": "Find it.", "answer": "97",
        "images": (Picture("a.png", tmp_path, IMAGE),),
    }  # fmt: skip
    assert {name: getattr(record, name) for name in expected} == expected | read_as


def test_large_and_dictionary_types_are_read(tmp_path: Path) -> None:
    text = pa.dictionary(pa.int32(), pa.string())
    message = pa.struct([("role", text), ("content", pa.large_string())])
    image = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
    schema = pa.schema([("prompt", pa.large_list(message)), ("images", pa.large_list(image))])
    record = only(read(tmp_path, {"prompt": PROMPT, "images": [{"bytes": IMAGE}]}, schema=schema))
    assert record.messages == (Message("user", "<image>Find it."),)
    assert record.images[0].read() == IMAGE


def test_text_without_a_text_type_is_refused_row_by_row(tmp_path: Path) -> None:
    (found,) = read(tmp_path, row(prompt=[{"role": b"user", "content": b"x"}]))
    assert found.fault
    assert "prompt is not a list of messages" in found.fault.message


def test_further_columns_pass_and_their_bytes_stay_behind(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8)
    added = {
        "level": 3,
        "made": day,
        "thumbnail": b"abc",
        "parts": [{"a": b"x", "b": float("inf")}],
        "split": "train",
    }
    record = only(read(tmp_path, row(**added, **info(seen=True, choices=["1", "2"]))))
    assert record.extra == {
        "turn": 0, "tool_info_gt": None, "data_source": "virc", "ability": "math", "index": 0, "level": 3,
        "made": "2024-05-06 07:08:00", "parts": [{"b": None}], "split": "train", "seen": True, "choices": ["1", "2"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": None}, "prompt is empty"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": "no JSON"}, "prompt is not JSON"),
        ({"prompt": "[" * 100_000}, "prompt is not JSON"),
        ({"prompt": "{}"}, "prompt is not a list"),
        ({"prompt": [{"role": "tool", "content": ""}]}, "prompt is not a list of messages"),
        ({"prompt": [{"role": "user", "content": None}]}, "prompt is not a list of messages"),
        ({"prompt": [{"role": "user"}]}, "prompt is not a list of messages"),
        ({"prompt": [None]}, "prompt is not a list of messages"),
        ({"prompt": 5}, "prompt is not a list"),
        ({"images": [None]}, "image 0 is neither"),
        ({"images": [{"bytes": None, "path": None}]}, "image 0 is neither"),
        ({"images": [5]}, "image 0 is neither"),
        ({"images": 5}, "images is not a list"),
        ({"extra_info": 5}, "extra_info is not an object"),
        ({"extra_info": "[]"}, "extra_info is not an object"),
        ({"reward_model": [1]}, "reward_model is not an object"),
        (info(question=5), "extra_info.question is not text"),
        (info(reference=[1]), "extra_info.reference is not text"),
        (info(extra='{"x": ' + "[" * 500 + "]" * 500 + "}"), "it is nested too deeply"),
        (info(id=1.5), "extra_info.id is neither"),
        (info(id="x", id_is_int=True), "extra_info.id is not the whole number"),
    ],
)
def test_a_wrong_row_says_what_is_wrong(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.fault
    assert found.fault.message.startswith(f"row 1: {sentence}")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": '[{"role": "user", "content": "<image>"}]'}, "prompt is no list"),
        ({"images": '["a.png"]'}, "images is no list"),
        ({"prompt": [{"role": "user", "content": "<image><video>"}]}, "prompt holds <video>"),
        ({"images": [], **info(images=[{"bytes": IMAGE}])}, "prompt has image marks, and images is empty"),
        ({"images": [IMAGE]}, "an image is neither an object nor a name"),
        ({"images": [{"path": "a.png"}]}, "an image has a path, but neither"),
        ({"images": [{"bytes": None, "path": "a.png"}]}, "an image has a path, but neither"),
        (
            info(prompt=[{"role": "user", "content": "<image>Another."}]),
            "extra_info.prompt is not the prompt",
        ),
        (info(prompt=PROMPT), None),
        ({"data_source": None}, "there is no data_source"),
        ({"data_source": ...}, "there is no data_source"),
        ({"extra_info": '{"question": "x"}'}, "extra_info is text"),
        ({"reward_model": '{"ground_truth": "x"}'}, "reward_model is text"),
        ({}, None),
        ({"images": [{"image": "a.png"}]}, None),
    ],
)
def test_what_verl_stumbles_over_is_said_of_a_row_that_can_be_read(
    tmp_path: Path, changed: dict[str, Any], sentence: str | None
) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.record
    if sentence is None:
        assert found.flaws == ()
    else:
        (flaw,) = found.flaws
        assert flaw.startswith(sentence)


def test_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    content = pa.array([b"good", b"bad \xff\xfe", b"good"], pa.binary()).view(pa.string())
    message = pa.StructArray.from_arrays([pa.array(["user"] * 3), content], ["role", "content"])
    prompt = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), message)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": prompt}), path)
    rows = list(rl.read(Source(path, "rl", "x")))
    assert [found.number for found in rows] == [1, 2, 3]
    assert [found.fault is None for found in rows] == [True, False, True]
    assert rows[1].fault
    assert "utf-8" in rows[1].fault.message


def test_a_damaged_group_of_rows_costs_that_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [row(images=[{"bytes": os.urandom(500), "path": None}]) for _ in range(30)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10, compression="zstd")
    column = next(
        index for index in range(20) if pq.read_metadata(path).schema.column(index).path.endswith("bytes")
    )
    start = pq.read_metadata(path).row_group(1).column(column).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    found = list(rl.read(Source(path, "rl", "x")))
    assert [each.number for each in found if each.record] == [*range(1, 11), *range(21, 31)]
    (fault,) = (each.fault for each in found if each.fault)
    assert fault.message.startswith("row 11: rows 11 to 20 cannot be read: ")


def test_a_row_that_repeats_an_image_beyond_all_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 times the same 100 KB in a file of a few KB; with more of both it would be a TB."""
    monkeypatch.setattr(parquet_rows, "MOST_ROW_BYTES", 50 * 2**20)
    image = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([bytes(100_000)]))
    path = tmp_path / "x.parquet"
    images = pa.ListArray.from_arrays(pa.array([0, 1000, 1000], pa.int32()), image)
    pq.write_table(pa.table({"prompt": [PROMPT, PROMPT], "images": images}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    first, second = rl.read(Source(path, "rl", "x"))
    assert first.fault
    assert "it is over 50 MiB" in first.fault.message
    assert second.record


def test_more_rows_than_bytes_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": pa.array([None] * 100_000, pa.string())}), path)
    with pytest.raises(DataError, match="claims 100000 rows, more than it has bytes"):
        list(rl.read(Source(path, "rl", "x")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read as parquet"),
        (b"PAR1", "cannot be read as parquet"),
        (b"PAR1PAR1", "cannot be read as parquet"),
        (b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1", "cannot be read as parquet"),
        (b"PAR1" + bytes(100) + b"\x10\x00\x00\x00PAR1", "cannot be read as parquet"),
        (b'[{"id": 1}]', "cannot be read as parquet"),
    ],
)
def test_what_is_no_parquet_is_neither_recognised_nor_read(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    assert not rl.recognises(path)
    assert not prompts.recognises(path)
    for module in (rl, prompts):
        with pytest.raises(DataError, match=sentence):
            list(module.read(Source(path, module.NAME, "x")))


def test_parquet_of_other_columns_is_of_no_layout(tmp_path: Path) -> None:
    found = source(tmp_path, {"text": "x"})
    assert not rl.recognises(found.file)
    assert not prompts.recognises(found.file)
    with pytest.raises(DataError, match="has no column prompt"):
        list(rl.read(found))
    with pytest.raises(DataError, match="of no known layout"):
        layouts.sources(found.file)


def test_layouts_are_recognised_by_their_columns(tmp_path: Path) -> None:
    made = crux.build(tmp_path, rows=2)
    assert [found.layout for found in layouts.sources(made.train)] == ["rl"]
    for name, rows, layout in (
        ("a", row(**info(reference="x")), "rl"),
        ("b", row(**info()), "prompts"),
        ("c", row(extra_info=...), "prompts"),
    ):
        (tmp_path / name).mkdir()
        assert [found.layout for found in layouts.sources(source(tmp_path / name, rows).file)] == [layout]
    assert not rl.recognises(tmp_path)
    assert not rl.recognises(tmp_path / "none")
    assert not rl.recognises(Path("\0"))


def test_without_pyarrow_reading_and_writing_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source(tmp_path, row())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert rl.recognises(found.file)
    assert not rl.recognises(Path(__file__))
    writing = Writing(PictureStore(tmp_path), tmp_path)
    for act in (lambda: list(rl.read(found)), lambda: rl.write(tmp_path, "set", [], writing)):
        with pytest.raises(SetupError, match="need the extra data") as raised:
            act()
        assert raised.value.hint == "pip install 'virc[data]'"


odd = st.recursive(
    st.sampled_from([pa.null(), pa.int8(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.date32(),
                     pa.timestamp("ns"), pa.decimal128(5, 2), pa.large_string(), pa.binary(3),
                     pa.dictionary(pa.int8(), pa.string())]),
    lambda inner: st.builds(pa.list_, inner) | st.builds(pa.map_, st.just(pa.string()), inner)
    | st.builds(
        lambda fields: pa.struct(list(fields.items())),
        st.dictionaries(st.sampled_from(
            ["role", "content", "bytes", "path", "image", "name", "id", "turn", "extra", "question", "images", "prompt",
             "tool_info_gt", "reference", "ground_truth", "a.b"]), inner, min_size=1, max_size=3)),
    max_leaves=5,
)  # fmt: skip
plain_values: dict[Any, Any] = {
    pa.null(): None, pa.int8(): 7, pa.float64(): float("nan"), pa.bool_(): True, pa.string(): "[{}]",
    pa.large_string(): "x", pa.binary(): b"\xff", pa.binary(3): b"abc", pa.date32(): datetime.date(1, 1, 1),
    pa.timestamp("ns"): 2**62, pa.decimal128(5, 2): None, pa.dictionary(pa.int8(), pa.string()): "user",
}  # fmt: skip


def value_of(kind: Any) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: value_of(field.type) for field in kind}
    if pa.types.is_map(kind):
        return [("k", value_of(kind.item_type))]
    if pa.types.is_list(kind):
        return [value_of(kind.value_type)] * 2
    return plain_values[kind]


@given(st.dictionaries(
    st.sampled_from(["images", "extra_info", "reward_model", "data_source", "ability", "other", "a.b"]), odd, max_size=4
), st.none() | odd)  # fmt: skip
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_of_any_type_give_a_record_or_a_fault(
    tmp_path: Path, kinds: dict[str, Any], prompt: Any
) -> None:
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("prompt", prompt or pa.list_(message)), *kinds.items()])
    values = [{name: value_of(kind) for name, kind in kinds.items()}, {}]
    fields = [each | {"prompt": value_of(prompt) if prompt else PROMPT} for each in values]
    path = tmp_path / "x.parquet"
    try:
        pq.write_table(pa.Table.from_pylist(fields, schema=schema), path)
    except pa.ArrowNotImplementedError:  # what cannot be parquet
        return
    rows = list(rl.read(Source(path, "rl", "x")))
    assert [found.number for found in rows] == [1, 2]
    assert all((found.record is None) is not (found.fault is None) for found in rows)
    list(rl.merged(rows))


@pytest.fixture(scope="module")
def child() -> Iterator[Callable[[Path], str]]:
    """Reads a file in another process, of bounded memory; gives what became of it."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "recipes"), str(ROOT)])}
    command = [sys.executable, str(ROOT / "tests/data/parquet_child.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdin
        assert process.stdout

        def ask(path: Path) -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            said = process.stdout.readline().strip()
            assert said, f"the process ended on {path}: {process.wait()}"
            return said

        yield ask
        process.stdin.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Sound files: as published, ours with names and with bytes, prompts; packed, and not."""
    folder = tmp_path_factory.mktemp("sound")
    made = crux.build(folder / "crux", rows=1, unpacked=True)
    found = [made.val.read_bytes()]
    unit = Record(
        (Message("user", "<image>q"), Message("assistant", "a")), (Picture("a.png", folder),), 1, "q", "1"
    )
    (folder / "a.png").write_bytes(IMAGE)
    for number, (module, embed) in enumerate(((rl, False), (rl, True), (prompts, True))):
        to = folder / str(number)
        to.mkdir()
        module.write(to, "x", [unit] * 3, Writing(PictureStore(to), to, embed))
        found.append((to / "x.parquet").read_bytes())
        pq.write_table(
            pq.read_table(to / "x.parquet"), folder / "plain", compression="none", use_dictionary=False
        )
        found.append((folder / "plain").read_bytes())
    return found


edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "cut", "add", "drop"]),
        st.floats(0, 1),
        st.booleans(),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[str, float, bool, bytes]]) -> bytes:
    """The bytes with some changed; half of the places are in the footer."""
    for kind, share, in_footer, new in changes:
        start = max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little")) if in_footer else 0
        at = int(start + share * (len(data) - start))
        tail = {"set": data[at + len(new) :], "add": data[at:], "drop": data[at + len(new) :], "cut": b""}[
            kind
        ]
        data = data[:at] + (new if kind in ("set", "add") else b"") + tail
    return data


def survives(child: Any, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    said = child(path)
    assert said.startswith(("read: ", "refused: ")), said


hostile = settings(
    max_examples=1000, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@given(which=st.integers(0, 6), changes=edits)
@hostile
def test_no_bytes_crash_the_reader(
    child: Any, files: list[bytes], tmp_path: Path, which: int, changes: list[Any]
) -> None:
    survives(child, tmp_path / "x.parquet", mutated(files[which], changes))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(which=st.integers(0, 6), changes=edits)
@settings(hostile, max_examples=10_000)
def test_ten_thousand_mutations_do_not_crash_the_reader(
    child: Any, files: list[bytes], tmp_path: Path, which: int, changes: list[Any]
) -> None:
    survives(child, tmp_path / "x.parquet", mutated(files[which], changes))


def test_the_sound_files_are_read_in_the_other_process(
    child: Any, files: list[bytes], tmp_path: Path
) -> None:
    said = []
    for data in files:
        (tmp_path / "x.parquet").write_bytes(data)
        said.append(child(tmp_path / "x.parquet"))
    assert said == ["read: 3 rows, 0 faulty"] * 7


@pytest.mark.slow
def test_reading_takes_no_more_memory_for_four_times_the_rows(tmp_path: Path) -> None:
    peaks = []
    for number, problems in enumerate((150, 600)):
        to = tmp_path / str(number)
        to.mkdir()
        talk = (Message("user", "<image>q"), Message("assistant", "a"))
        found = (
            Record(talk, (Picture("", to, os.urandom(100_000)),), at, "q", "1") for at in range(problems)
        )
        rl.write(to, "x", found, Writing(PictureStore(to), to, embed=True))
        code = (
            "import sys, resource; from pathlib import Path; from virc_recipes.data.layouts import Source, rl\n"
            "print(sum(r.record is not None for r in rl.read(Source(Path(sys.argv[1]), 'rl', 'x'))),"
            " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        env = os.environ | {"PYTHONPATH": str(ROOT / "recipes")}
        command = [sys.executable, "-c", code, str(to / "x.parquet")]
        rows, peak = subprocess.run(
            command, env=env, capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(rows) == problems
        peaks.append(int(peak))
    assert peaks[1] < 1.25 * peaks[0]


def test_images_that_stand_twice_are_read_once(tmp_path: Path) -> None:
    made = crux.build(tmp_path, rows=1)
    assert any(name.startswith("extra_info.images.") for name in parquet_rows.column_names(made.train))
    assert not any(name.startswith("extra_info.images.") for name in rl.columns(made.train))
