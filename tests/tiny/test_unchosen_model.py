"""No model that nobody chose is trusted in silence."""

import shutil
from pathlib import Path

import pytest

from virc.models import registry as models
from virc.models.load import DEMONSTRATION, Choice, open_model


def test_the_embedded_model_says_that_it_is_a_demonstration_unless_it_was_chosen() -> None:
    assert DEMONSTRATION in open_model(Choice(device="cpu")).warnings
    assert DEMONSTRATION not in open_model(Choice(model="tiny", device="cpu")).warnings


def test_another_model_of_the_package_is_asked_by_its_name_in_its_own_chat_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(models.EMBEDDED_FOLDER, tmp_path / "tiny-twin")
    monkeypatch.setattr(models, "PACKAGE", tmp_path)
    opened = open_model(Choice(model="tiny-twin", device="cpu"))
    assert (opened.name, opened.embedded, opened.chat_protocol.name) == ("tiny-twin", True, "trained")
    assert opened.warnings == ()
