"""Environment and models for the backend tests."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def words() -> Any:
    """The random models' tokenizer."""
    from tiny_factory import tokenizer

    return tokenizer()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of the random model of a family, built once a session; not to be written to."""
    from tiny_factory import build

    folders: dict[str, Path] = {}

    def folder(family: str = "qwen2_5_vl") -> Path:
        if family not in folders:
            folders[family] = build(tmp_path_factory.mktemp(family), family)
        return folders[family]

    return folder
