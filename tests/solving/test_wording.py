"""A model is spoken to in what it was trained with; never silently in anything else."""

from pathlib import Path

import msgspec
import pytest

from virc.core.errors import ConfigError
from virc.models import chat_protocol
from virc.models import registry as models
from virc.models.load import Choice, prompt_setup_here
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
    assert chat_protocol.of_weights(weights) == beside
    assert chat_protocol.of_weights(weights, str(tmp_path / "other.json")) == given
    assert chat_protocol.of_weights(weights).name == "trained"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "virc.protocol/2"}'])
def test_a_file_that_is_no_chat_protocol_is_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"p\.json is no chat protocol file"):
        chat_protocol.read_protocol(path)


def test_words_of_a_system_that_a_trained_model_does_not_get_are_said(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: {tiny: {}}\ntools: [scale_image]\n")
    for system, said in ((str(tmp_path / "mine.yaml"), True), ("tiny", False), (None, False)):
        setup = prompt_setup_here(models.find("tiny", tmp_path, system), Choice(model="tiny", system=system))
        assert any("the tools and words of mine are not used" in each for each in setup.warnings) == said, system
