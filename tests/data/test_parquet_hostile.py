"""Parquet of any types and any bytes: each row comes as a record or with its fault, and nothing crashes."""

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
from data.parquet_sets import IMAGE, PROMPT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import crux

from virc.data.formats import prompts, rl
from virc.data.formats.registry import RowsFile, Writing
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Message, Picture, Record

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

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
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_of_any_type_give_a_record_or_a_fault(tmp_path: Path, kinds: dict[str, Any], prompt: Any) -> None:
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("prompt", prompt or pa.list_(message)), *kinds.items()])
    values = [{name: value_of(kind) for name, kind in kinds.items()}, {}]
    fields = [each | {"prompt": value_of(prompt) if prompt else PROMPT} for each in values]
    path = tmp_path / "x.parquet"
    try:
        pq.write_table(pa.Table.from_pylist(fields, schema=schema), path)
    except pa.ArrowNotImplementedError:  # what cannot be parquet
        return
    rows = list(rl.read(RowsFile(path, "rl", "x")))
    assert [found.number for found in rows] == [1, 2]
    assert all((found.record is None) is not (found.fault is None) for found in rows)
    list(rl.problems(rows))


@pytest.fixture(scope="module")
def child() -> Iterator[Callable[[Path], str]]:
    """Reads a file in another process, of bounded memory; gives what became of it."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "recipes"), str(ROOT)])}
    command = [sys.executable, str(ROOT / "tests/data/parquet_child.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
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
    unit = Record((Message("user", "<image>q"), Message("assistant", "a")), (Picture("a.png", folder),), 1, "q", "1")
    (folder / "a.png").write_bytes(IMAGE)
    for number, (module, embed) in enumerate(((rl, False), (rl, True), (prompts, True))):
        to = folder / str(number)
        to.mkdir()
        module.write(to, "x", [unit] * 3, Writing(PictureStore(to), embed))
        found.append((to / "x.parquet").read_bytes())
        pq.write_table(pq.read_table(to / "x.parquet"), folder / "plain", compression="none", use_dictionary=False)
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
        tail = {"set": data[at + len(new) :], "add": data[at:], "drop": data[at + len(new) :], "cut": b""}[kind]
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


def test_the_sound_files_are_read_in_the_other_process(child: Any, files: list[bytes], tmp_path: Path) -> None:
    said = []
    for data in files:
        (tmp_path / "x.parquet").write_bytes(data)
        said.append(child(tmp_path / "x.parquet"))
    assert said == ["read: 3 rows, 0 faulty"] * 7
