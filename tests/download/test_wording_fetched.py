"""The chat protocol of a released model, read from the beginning of the rows that show it, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, hub
from support import crux

from virc.download.protocol_source import MOST_BYTES, fetch_chat_protocol
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.systems import registry as systems

DATASET = "datasets/LeonMiao/CRUX"
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


@pytest.mark.integration
@pytest.mark.parametrize(("short", "scale"), [("ViRC-7B", "dynamic"), ("ViRC-Qwen2VL-2B", "fixed")])
def test_the_chat_protocol_is_that_of_the_rows_in_both_kinds_of_coordinates(
    short: str, scale: str, server: Hub, published: dict[str, Path], tmp_path: Path
) -> None:
    found, said = fetched(short, tmp_path / short)
    assert (found, said) == (tmp_path / short / FILE_NAME, [])
    fixed, line = scale == "fixed", "Image {index}: {width} x {height}."
    assert read_protocol(tmp_path / short / FILE_NAME) == Protocol(
        system=crux._system(fixed),
        first=f"{{images}}\nQuestion: {{question}}\n\n{crux._INSTRUCTION}",
        image_line=line,
        after_image=f"{line} {crux._NEXT}",
        after_scale=f"{line} Remember: {{question}} {crux._NEXT}",
        tools=("crop_image", "scale_image", "display_image"),
        coordinates="permille" if fixed else "pixel",
        images="square_1000" if fixed else "smart",
    )


GOOD = '{"messages": [{"role": "user", "content": "x"}]}'


@pytest.mark.integration
@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (b"", "of no known format"),
        (b"[]", "it is empty"),
        (b'[{"messages": ' + b"[" * 300_000 + b"]" * 300_000 + b"}]", "it is nested too deeply"),
        (b'[{"messages": "' + "é".encode() * MOST_BYTES + b'"}]', "the file ends within the array"),
        (b'[{"messages": "\xff\xfe"}]', "it is not UTF-8"),
        (b'[{"role": 1}]', "it has no messages"),
        (f"[{GOOD}]".encode(), "it has no system message"),
        (b"PAR1" * 999, "of no known format"),
    ],
    ids=range(8),
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
    assert "«--protocol default» does without" in str(hint)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.safetensors"]
