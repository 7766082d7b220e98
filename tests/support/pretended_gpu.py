"""A GPU that is not there: tensors that say they are on it, whose numbers are on the CPU.

What a GPU refuses is refused: an operation on tensors of both devices, and one on a device of which nobody asked. So
code that forgets to move a tensor fails here as it would there. Kernels, their rounding and memory are the CPU's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

torch.utils.backend_registration._setup_privateuseone_for_python_backend("pretended")
GPU = torch.device("pretended", 0)
_COPIES = {"copy_", "_to_copy", "to"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}  # by tensors of the CPU too
_STAYS = {"_local_scalar_dense"}


class OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU; `numbers` is the one on the CPU."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> "OnGpu":
        """The tensor of these numbers."""
        made: OnGpu = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype,
            layout=real.layout, device=GPU, requires_grad=False,
        )  # fmt: skip
        made.numbers = real
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """An operation outside `here`, such as one of another thread."""
        return run(func, args, dict(kwargs or {}))

    def tolist(self) -> Any:
        """Its numbers, which torch gives of no subclass."""
        return self.numbers.tolist()

    def __repr__(self, **_: Any) -> str:
        """Its numbers."""
        return f"OnGpu({self.numbers!r})"


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return run(func, args, dict(kwargs or {}))


class _Made(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.tensor:  # of numbers among which some are on the device
            args = tree_map_only(OnGpu, lambda each: each.tolist(), args)
        return func(*args, **(kwargs or {}))


def run(func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Carry out an operation where its tensors say they are.

    Raises:
        RuntimeError: they are on both devices.
    """
    name, every = func.overloadpacket.__name__, tree_leaves((args, named))
    leaves = [leaf for leaf in every if isinstance(leaf, torch.Tensor)]
    wanted = next((leaf for leaf in every if isinstance(leaf, torch.device)), None)
    on_gpu = any(isinstance(leaf, OnGpu) for leaf in leaves)
    strangers = [leaf for leaf in leaves if not isinstance(leaf, OnGpu) and leaf.dim()]
    indexed = name in _INDEXED and isinstance(args[0], OnGpu)
    if on_gpu and strangers and name not in _COPIES and not indexed:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {GPU} and cpu")
    if wanted is not None:
        on_gpu = wanted.type == GPU.type
    elif name == "copy_":
        on_gpu = isinstance(args[0], OnGpu)
    given = tree_map_only(OnGpu, lambda each: each.numbers, (args, named))
    real_args, real_named = tree_map_only(torch.device, lambda _: torch.device("cpu"), given)
    found = func(*real_args, **real_named)
    if not on_gpu or name in _STAYS:
        return found.clone() if wanted is not None and leaves and found is real_args[0] else found
    of = {id(leaf.numbers): leaf for leaf in leaves if isinstance(leaf, OnGpu)}
    return tree_map_only(torch.Tensor, lambda each: of[id(each)] if id(each) in of else OnGpu(each), found)


@contextmanager
def here() -> Iterator[None]:
    """In this thread `cuda` is a device."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # else `torch.tensor` makes one on the device without asking the mode
    try:
        with _Made(), _Mode():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
