"""Checkpoints of several processes put together: every weight once, by its own name, with what an adapter adds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import ConfigError, SetupError
from virc.engines.merge import common
from virc.runs.checkpoint_formats.shards import Shards


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


@pytest.mark.parametrize(
    ("tied", "last", "says"), [(False, 0.1, None), (True, 1.0, None), (True, 0.1, "should be the same")]
)
def test_shards_become_the_network_that_their_config_describes(
    tied: bool, last: float, says: str | None, merge: Any, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, written, asked = network(torch, tied), list[tuple[Any, Path]](), list[Any]()
    size, made.tie_weights = common.size_of(made), lambda: None
    found = Shards(tmp_path, 2)
    for file in found.files:
        torch.save(saved(torch, **{"last.weight": torch.full((2, 3), last)}), file)
    monkeypatch.setattr(merge, "empty", lambda folder: asked.append(folder) or made)
    monkeypatch.setattr(merge.shards, "read", lambda actor: asked.append(actor) or found)
    monkeypatch.setattr(merge.merging, "check_room", lambda size, folder: asked.append((size, folder)))
    monkeypatch.setattr(
        merge.merging, "save", lambda network, folder: written.append((network.state_dict(), folder)) or 15
    )
    words = [str(tmp_path), str(tmp_path / "new")]
    if says:
        with pytest.raises(ConfigError, match=says):
            merge.merge(words)
        assert written == []
        return
    assert merge.merge(words) == 15
    assert asked == [tmp_path, found.texts, (size, tmp_path / "new")]
    ((weights, folder),) = written
    assert folder == tmp_path / "new"
    assert {name: float(value.flatten()[0]) for name, value in weights.items()} == pytest.approx(
        {"first.weight": 1.0, "last.weight": last, "steps": 7.0}, rel=1e-2
    )


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


@pytest.mark.parametrize(
    ("free", "memory", "says"),
    [
        (10**9 + common.MARGIN, None, None),
        (10**9 + common.MARGIN - 1, None, "the merged model takes 0.9 GiB, and 1.0 are free"),
        (10**12, 10**9, None),
        (10**12, 10**9 - 1, "merging takes 0.9 GiB of memory, and 0.9 are free"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_read(
    free: int, memory: int | None, says: str | None, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(common.devices, "free_memory", lambda _: memory)
    if says is None:
        common.check_room(10**9, tmp_path)
        return
    with pytest.raises(SetupError, match=says):
        common.check_room(10**9, tmp_path)
