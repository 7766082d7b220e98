"""Checkpoints of several processes put together: every weight once, by its own name, with what an adapter adds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.runs.checkpoint_formats.shards import Shards

pytestmark = pytest.mark.integration  # imports torch


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


@pytest.fixture(scope="module")
def merge() -> Any:
    from virc.engines.verl import merge

    return merge


def network(torch: Any, tied: bool = False) -> Any:
    """A network of two layers; of one, by two names, where they are tied."""
    made = torch.nn.Module()
    made.first, made.last = torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(3, 2, bias=False)
    if tied:
        made.last.weight = made.first.weight
    made.register_buffer("steps", torch.tensor([7]))
    return made


def saved(torch: Any, **more: Any) -> dict[str, Any]:
    """What one process saved of it."""
    weights = {"first.weight": torch.ones(2, 3), "last.weight": torch.full((2, 3), 0.1), "steps": torch.tensor([7])}
    return {name: value for name, value in (weights | more).items() if value is not None}


ADAPTER: Any = SimpleNamespace(rank=2, alpha=4)


def test_weights_are_joined_by_their_names_in_bfloat16(merge: Any, torch: Any) -> None:
    found = merge.joined([saved(torch)] * 2, network(torch), Shards(Path("actor"), 2))
    assert sorted(found) == ["first.weight", "last.weight", "steps"]
    assert found["last.weight"].equal(torch.full((2, 3), 0.1).bfloat16())
    assert found["steps"].dtype == torch.int64  # counts are not rounded


@pytest.mark.parametrize("prefix", ["", "base_model.model."])
def test_what_an_adapter_adds_is_in_the_weights(prefix: str, merge: Any, torch: Any) -> None:
    state = {f"{prefix}{name}": value for name, value in saved(torch).items()}
    down, up = torch.tensor([[1.0, 0, 0], [0, 2.0, 0]]), torch.tensor([[1.0, 1.0], [0, 3.0]])
    if prefix:
        state[f"{prefix}first.base_layer.weight"] = state.pop(f"{prefix}first.weight")
        state |= {f"{prefix}first.lora_A.default.weight": down, f"{prefix}first.lora_B.default.weight": up}
    found = merge.joined([state], network(torch), Shards(Path("actor"), 1, adapter=ADAPTER))
    added = 4 / 2 * up @ down if prefix else 0
    assert found["first.weight"].equal((torch.ones(2, 3) + added).bfloat16())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"last.weight": None}, "actor is incomplete: it has no last.weight"),
        ({"other": (1,)}, "does not belong to its config, which has no other"),
        ({"first.weight": (3, 2)}, "first.weight is of another size"),
        ({"first.weight": "text"}, "holds something else than a tensor as first.weight"),
        ({"first.lora_A.default.weight": (2, 3)}, "does not belong to its config, which has no first.lora_A"),
    ],
)
def test_a_checkpoint_that_is_not_of_its_config_is_refused(
    change: dict[str, Any], says: str, merge: Any, torch: Any
) -> None:
    made = {key: torch.ones(value) if isinstance(value, tuple) else value for key, value in change.items()}
    with pytest.raises(ConfigError, match=says):
        merge.joined([saved(torch, **made)], network(torch), Shards(Path("actor"), 1, adapter=ADAPTER))


@pytest.mark.parametrize(
    ("adapter", "factors", "says"),
    [
        (None, ("A", "B"), "it holds an adapter without"),
        (ADAPTER, ("A",), "it has one factor only for base_model.model.first"),
        (SimpleNamespace(rank=1, alpha=4), ("A", "B"), "is of another size"),
    ],
)
def test_half_an_adapter_is_refused(adapter: Any, factors: tuple[str, ...], says: str, merge: Any, torch: Any) -> None:
    stem = "base_model.model.first"
    shapes = {"A": (2, 3), "B": (2, 2)}
    state = saved(torch, **{"first.weight": None}) | {f"{stem}.base_layer.weight": torch.ones(2, 3)}
    state |= {f"{stem}.lora_{factor}.default.weight": torch.ones(shapes[factor]) for factor in factors}
    with pytest.raises(ConfigError, match=says):
        merge.joined([state], network(torch), Shards(Path("actor"), 1, adapter=adapter))


def test_processes_that_saved_other_weights_contradict_each_other(merge: Any, torch: Any) -> None:
    one, other = saved(torch), saved(torch, **{"last.weight": torch.zeros(2, 3)})
    with pytest.raises(ConfigError, match=r"its processes differ in last\.weight"):
        merge.joined([one, other], network(torch), Shards(Path("actor"), 2))
    with pytest.raises(ConfigError, match="its processes saved different weights"):
        merge.joined([one, saved(torch, more=torch.ones(1))], network(torch), Shards(Path("actor"), 2))


class Evil:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a": 1.0}, None),
        ({}, "holds no weights by name"),
        ([1.0], "holds no weights by name"),
        ({3: 1.0}, "holds no weights by name"),
        (Evil(), "holds more than tensors, and unpickling that may run code"),
        (b"no checkpoint", "cannot be read as tensors alone"),
    ],
)
def test_nothing_in_a_checkpoint_is_run(
    content: Any, says: str | None, merge: Any, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, dict):
        torch.save({key: torch.tensor(value) for key, value in content.items()}, file)
    else:
        torch.save(content, file)
    if says is None:
        assert merge._loaded(file)["a"] == 1
    else:
        with pytest.raises(ConfigError, match=says):
            merge._loaded(file)
    assert not (tmp_path / "ran").exists()
