"""Counts the bytes that PyTorch holds, without computing: on fake tensors of full size, or on real ones."""

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held(TorchDispatchMode):
    """Bytes of all tensors that live: `now`, and at most since `from_here`."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: dict[int, int] = {}
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                self._add(tensor)

    def from_here(self) -> None:
        """Forget what was the most."""
        self.most = self.now

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        return made

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._seen:
            self._seen[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._seen.pop(key)
