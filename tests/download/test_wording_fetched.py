"""The chat protocol of a released model, read from the beginning of the rows that show it, on a real server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, drop, hub, ignore_range, status
from support import crux
from support.called import virc

from virc.data.formats.registry import only_source
from virc.data.protocol.extract import study_file
from virc.download.protocol_source import MOST_BYTES, fetch_chat_protocol
from virc.models import registry as models
from virc.models.chat_protocol import of_weights, read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

DATASET = "datasets/LeonMiao/CRUX"
PICTURE = Path(__file__).resolve().parents[1] / "pictures" / "triangle.png"
ROWS = "ViRC_stage_2_PracSFT_scale_{}_50K.json"
Said = list[tuple[str, str | None]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return crux.publish(tmp_path_factory.mktemp("crux") / "set", rows=14)


@pytest.fixture
def server(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    with hub({DATASET: published}, large=4096) as running:
        for name, value in running.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield running


def fetched(short: str, folder: Path) -> tuple[Path | None, Said]:
    """What became of the chat protocol of a model of the package's system, and what was said."""
    system = systems.get("virc")
    folder.mkdir(parents=True, exist_ok=True)
    said: Said = []
    found = fetch_chat_protocol(
        system, system.models[short], folder, lambda message, hint: said.append((message, hint))
    )
    return found, said


def served(server: Hub, published: dict[str, Path], rows: bytes, name: str = ROWS.format("dynamic")) -> None:
    """Let the file of rows be another."""
    server.put(DATASET, {**published, name: rows})


def padded(rows: list[dict[str, Any]], size: int) -> bytes:
    """A JSON array whose rows are each made `size` bytes long by a field that nobody reads."""
    return json.dumps([{**row, "note": "é" * (size // 2)} for row in rows], ensure_ascii=False).encode()


@pytest.mark.integration
@pytest.mark.parametrize(("short", "scale"), [("ViRC-7B", "dynamic"), ("ViRC-Qwen2VL-2B", "fixed")])
def test_the_chat_protocol_is_that_of_the_whole_file_in_both_kinds_of_coordinates(
    short: str, scale: str, server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    found, said = fetched(short, tmp_path / short)
    assert (found, said) == (tmp_path / short / FILE_NAME, [])
    whole = study_file(only_source(published[ROWS.format(scale)])).protocol
    assert read_protocol(tmp_path / short / FILE_NAME) == whole
    assert whole.coordinates == ("pixel" if scale == "dynamic" else "permille")


def test_what_rows_say_of_coordinates_does_not_count_against_what_the_system_says(
    server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    text = published[ROWS.format("dynamic")].read_text().replace("absolute pixels ", "")
    served(server, published, text.encode(), ROWS.format("fixed"))
    assert fetched("ViRC-Qwen2VL-7B", tmp_path / "m")[0]
    assert read_protocol(tmp_path / "m" / FILE_NAME).coordinates == "permille"


def test_one_request_of_a_mebibyte_is_enough_however_large_the_file(
    server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    name = ROWS.format("dynamic")
    rows = json.loads(published[name].read_text())
    served(server, published, padded(rows * 3, 150_000))
    assert fetched("ViRC-3B", tmp_path / "m")[0]
    (asked,) = server.asked("storage", name)
    assert asked.headers["range"] == f"bytes=0-{MOST_BYTES - 1}"
    assert server.sent(name, on="storage") == MOST_BYTES
    info = published["dataset_info.json"].stat().st_size
    assert server.sent() <= MOST_BYTES + 2 * info + 4096
    protocol = read_protocol(tmp_path / "m" / FILE_NAME)
    assert protocol == study_file(only_source(published[name]), most=6).protocol


@pytest.mark.integration
def test_what_the_first_row_does_not_show_is_said_where_no_other_row_came_along(
    server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    name = ROWS.format("dynamic")
    served(server, published, padded(json.loads(published[name].read_text()), MOST_BYTES - 20_000))
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert found
    ((message, hint),) = said
    assert message == "the chat protocol of m: no row scales an image: after_scale is taken from after_image"
    assert "virc data protocol ROWS --to" in str(hint)
    whole, one = study_file(only_source(published[name])).protocol, read_protocol(found)
    assert (one.system, one.first, one.after_image) == (whole.system, whole.first, whole.after_image)


@pytest.mark.parametrize(
    ("short", "scale", "unit"), [("ViRC-3B", "dynamic", "pixel"), ("ViRC-Qwen2VL-7B", "fixed", "permille")]
)
def test_rows_behind_the_first_that_are_worded_otherwise_do_not_count(
    short: str, scale: str, unit: str, server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    name = ROWS.format(scale)
    rows = json.loads(published[name].read_text())
    rows[3]["messages"][0]["content"] = "Another system."
    served(server, published, json.dumps(rows).encode(), name)
    found, said = fetched(short, tmp_path / "m")
    assert found
    assert len(said) == 1
    assert read_protocol(found).system == rows[0]["messages"][0]["content"]
    assert read_protocol(found).coordinates == unit


def test_lines_are_read_as_an_array_is(server: Hub, published: dict[str, Path], tmp_path: Path) -> None:
    rows = json.loads(published[ROWS.format("dynamic")].read_text())
    info = json.loads(published["dataset_info.json"].read_text())
    name = ROWS.format("dynamic").removesuffix(".json")
    info[name]["file_name"] = f"sub/{name}.jsonl"
    info[name]["columns"]["messages"] = "talk"
    lines = [json.dumps({"talk": row["messages"], "images": row["images"]}) for row in rows]
    server.put(DATASET, {
        "dataset_info.json": json.dumps(info).encode(), f"sub/{name}.jsonl": "\n".join(lines).encode(),
    })  # fmt: skip
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert (bool(found), said) == (True, [])


GOOD = '{"messages": [{"role": "user", "content": "x"}]}'


@pytest.mark.integration
@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (b"", "of no known format"),
        (b"{}", "of no known format"),
        (b"[]", "it is empty"),
        (b"[" + b"[" * 5000, "of no known format"),
        (b'[{"messages": ' + b"[" * 300_000 + b"]" * 300_000 + b"}]", "it is nested too deeply"),
        (b'[{"messages": ' + b"[" * (MOST_BYTES + 99), "the file ends within it"),
        (b'[{"messages": "' + "é".encode() * MOST_BYTES + b'"}]', "the file ends within it"),
        (b'[ {"messages": "' + "é".encode() * MOST_BYTES + b'"}]', "the file ends within it"),
        (b'[{"messages": "\xff\xfe"}]', "it is not UTF-8"),
        (b'[{"role": 1}]', "it has no messages"),
        (f"[{GOOD}]".encode(), "it has no system message"),
        (b"[{,}]", "it is not JSON"),
        (b"PAR1" * 999, "of no known format"),
    ],
    ids=range(13),
)  # fmt: skip
def test_rows_that_show_no_chat_protocol_are_one_warning_and_the_weights_stay(
    rows: bytes, why: str, server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    served(server, published, rows)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"weights")
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert found is None
    ((message, hint),) = said
    assert message.startswith("no chat protocol for m: ")
    assert message.isprintable()
    assert why in message
    assert ROWS.format("dynamic") in message
    assert "--protocol default does without" in str(hint)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (b"[", "dataset_info.json of LeonMiao/CRUX cannot be read"),
        (b'{"ViRC_stage_2_PracSFT_scale_dynamic_50K": {"file_name": "../../x"}}', "which is not there"),
        (b" " * (16 * 2**20 + 1), "is over 16 MiB"),
    ],
)
def test_an_info_that_leads_nowhere_is_one_warning(
    info: bytes, why: str, server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    server.put(DATASET, {**published, "dataset_info.json": info})
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert (found, len(said)) == (None, 1)
    assert why in said[0][0]
    assert server.sent(ROWS.format("dynamic")) == 0


@pytest.mark.integration
def test_a_server_that_does_not_have_them_is_one_warning(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.misbehave(status(404, error="RepoNotFound"), on="api", times=None)
    assert fetched("ViRC-3B", tmp_path / "m")[0] is None
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("virc.download.hub.listing.FIRST_WAIT", 0.01)
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert (found, len(said)) == (None, 1)


@pytest.mark.integration
def test_a_broken_connection_and_a_server_without_ranges_are_borne(
    server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    name = ROWS.format("dynamic")
    served(server, published, padded(json.loads(published[name].read_text()) * 20, 100_000))
    server.misbehave(drop(300_000), name=name)
    server.misbehave(ignore_range, name=name, times=None)
    assert fetched("ViRC-3B", tmp_path / "m")[0]
    size = 20 * 14 * 100_000
    assert server.sent(name) < size / 2


def test_a_chat_protocol_that_is_there_is_left_and_nothing_is_asked(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / FILE_NAME).write_text("mine")
    assert fetched("ViRC-3B", tmp_path / "m") == (tmp_path / "m" / FILE_NAME, [])
    assert (tmp_path / "m" / FILE_NAME).read_text() == "mine"
    assert server.requests == []


def test_who_has_no_source_gets_no_chat_protocol_and_no_warning(server: Hub, tmp_path: Path) -> None:
    tiny = systems.get("tiny")
    said: Said = []
    for system, model in ((None, None), (tiny, tiny.models["tiny"]), (systems.get("virc"), None)):
        assert fetch_chat_protocol(system, model, tmp_path, lambda *words: said.append(words)) is None
    assert (said, server.requests, [*tmp_path.iterdir()]) == ([], [], [])


@pytest.mark.integration
def test_a_disk_that_refuses_is_one_warning(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "m" / f".{FILE_NAME}.new").mkdir(parents=True)
    found, said = fetched("ViRC-3B", tmp_path / "m")
    assert (found, len(said)) == (None, 1)
    assert said[0][0].startswith("no chat protocol for m: ")


@pytest.mark.integration
@pytest.mark.parametrize("solved", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_is_solved_with_in_its_own_chat_protocol_once_it_was_fetched(
    server: Hub, tmp_path: Path, solved: bool
) -> None:
    """tiny's weights stand for those of ViRC-3B: the way to the chat protocol is the same."""
    folder = tmp_path / "models" / "ViRC-3B"
    shutil.copytree(EMBEDDED_FOLDER, folder, ignore=shutil.ignore_patterns(FILE_NAME))
    words = ("solve", PICTURE, "In triangle BLA, find m∠L.", "--model", "ViRC-3B", "--json", "--device", "cpu")
    refused = virc(*words)
    assert refused.code == 3
    assert refused.json["error"]["message"].startswith("no chat protocol for ViRC-3B: ")
    assert refused.json["error"]["hint"].startswith("`virc download ViRC-3B` brings it")
    assert fetched("ViRC-3B", folder)[0] == folder / FILE_NAME
    assert of_weights(models.find("ViRC-3B", tmp_path)).origin == "trained"
    if not solved:
        return
    done = virc(*words, "--max-turns", 1, "--timeout", 1)
    assert done.code in (0, 6, 7, 8), done.err
    assert done.json["protocol"] == "trained"


@pytest.mark.integration
def test_the_protocol_alone_comes_without_the_weights(
    published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that a model of ViRC on somebody's own server is answered with."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 100_000)
    model = {"model.safetensors": weights, "config.json": EMBEDDED_FOLDER / "config.json"}
    monkeypatch.chdir(tmp_path)
    with hub({DATASET: published, "LeonMiao/ViRC-7B": model}, large=4096) as running:
        for name, value in running.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        done = virc("download", "ViRC-7B", "--include", FILE_NAME)
    assert done.code == 0, done.err
    folder = tmp_path / "models" / "ViRC-7B"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == [FILE_NAME]
    assert read_protocol(folder / FILE_NAME).tools
    with hub({DATASET: published, "LeonMiao/ViRC-7B": model}) as running:
        for name, value in running.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        assert virc("download", "ViRC-7B", "--include", "*.bin").code == 5
