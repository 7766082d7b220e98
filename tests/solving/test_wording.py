"""A model is spoken to in what it was trained with; never silently in anything else."""

from pathlib import Path

import msgspec
import pytest

from virc.core.errors import ConfigError
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning.protocol import FILE_NAME, Protocol, own_protocol
from virc.systems.registry import System


def write(path: Path, system: str) -> Protocol:
    protocol = msgspec.structs.replace(own_protocol([]), system=system, name="trained")
    path.write_bytes(msgspec.json.encode(protocol))
    return protocol


def test_the_option_goes_before_the_file_beside_the_weights(tmp_path: Path, virc_system: System) -> None:
    beside = write(tmp_path / FILE_NAME, "beside")
    given = write(tmp_path / "other.json", "given")
    weights = Weights("m", tmp_path, virc_system)
    assert chat_protocol.of_weights(weights).protocol == beside
    assert chat_protocol.of_weights(weights, str(tmp_path / "other.json")).protocol == given
    assert chat_protocol.of_weights(weights).origin == "trained"


def test_an_endpoint_is_spoken_to_in_what_it_publishes(tmp_path: Path) -> None:
    published = write(tmp_path / "p.json", "published")
    given = write(tmp_path / "g.json", "given")

    def spoken(option: str | None = None) -> chat_protocol.ChatProtocol:
        found, _ = chat_protocol.of_endpoint(chat_protocol.ServedModel("m", published=published), tmp_path, option)
        assert found
        return found

    assert spoken().protocol == published
    assert spoken(str(tmp_path / "g.json")).protocol == given
    assert spoken("default").origin == "own"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "virc.protocol/2"}'])
def test_a_file_that_is_no_chat_protocol_is_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"p\.json is no chat protocol file"):
        chat_protocol.read_protocol(path)


def test_a_chat_protocol_file_of_any_size_takes_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "p.json").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    with pytest.raises(ConfigError, match="over 16 MiB"):
        chat_protocol.read_protocol(tmp_path / "p.json")
