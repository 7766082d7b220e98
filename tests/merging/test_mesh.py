"""Weights are put together in the order of the mesh that they were spread over, not in that of the ranks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from virc.core.errors import ConfigError
from virc.runs.checkpoint_formats.shards import Shards

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.integration  # imports torch


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    """Four processes that are none, as DTensor wants them."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


def merged(mesh: Any, spread: Sequence[int | None], pieces: "Sequence[Tensor]", shape: Sequence[int]) -> "Tensor":
    """A weight that each rank saved a piece of; of each axis of the mesh the dimension it is cut along, None: none."""
    import torch
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Replicate, Shard

    from virc.engines.verl.merge import whole

    over = DeviceMesh("cpu", torch.tensor(mesh), _init_backend=False)
    placements = [Replicate() if dim is None else Shard(dim) for dim in spread]
    states = [{"w": DTensor.from_local(piece, over, placements, run_check=False)} for piece in pieces]
    return whole("w", states, shape, Shards(Path("actor"), 4))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]])
@pytest.mark.parametrize("dim", [0, 1])
def test_pieces_come_in_the_order_of_the_mesh(order: list[int], dim: int) -> None:
    import torch

    weight = torch.arange(48.0).reshape(8, 6) if dim == 0 else torch.arange(48.0).reshape(6, 8)
    pieces = [torch.empty(0)] * 4
    for place, rank in enumerate(order):
        pieces[rank] = weight.chunk(4, dim)[place].clone()
    assert torch.equal(merged(order, [dim], pieces, weight.shape), weight)


def test_what_fsdp_does_not_write_is_refused() -> None:
    import torch

    weight = torch.arange(16.0).reshape(4, 4)
    halves = [half.clone() for half in weight.chunk(2)]
    quarters = [quarter.clone() for half in halves for quarter in half.chunk(2, 1)]
    with pytest.raises(ConfigError, match="is not of FSDP alone: w is spread otherwise"):
        merged([[0, 1], [2, 3]], [0, 1], quarters, weight.shape)
    with pytest.raises(ConfigError, match="contradicts itself: w has shards of more processes"):
        merged([0, 1, 2, 3], [0], halves, weight.shape)
    with pytest.raises(ConfigError, match="does not belong to its config: w is of another size"):
        merged([0, 1], [0], halves, (4, 4, 1))
