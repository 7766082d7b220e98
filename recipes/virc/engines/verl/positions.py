"""Positions of tokens (M-RoPE) in verl 0.9.1, if all sequences of a batch have the same length.

verl keeps them as a jagged tensor of sequences, each (4, tokens). Of sequences of one length torch takes the 4 for what
differs, verl then says that it is the tokens, and the batch can no more be taken apart: the run ends with
"split_with_sizes expects split_sizes to sum exactly to ..." (issue 7899 of verl). verl imports this in each of its
processes (`VERL_USE_EXTERNAL_MODULES`).
"""

from typing import Any

import torch
from verl.utils import tensordict_utils  # type: ignore[import-not-found]


def fix(data: Any) -> None:
    """In place of verl's `maybe_fix_3d_position_ids`: make tokens what differs in jagged `position_ids`."""
    positions = data.get("position_ids", None)
    if positions is None or not positions.is_nested or positions.dim() != 3:
        return
    values, ends = positions.values(), positions.offsets()
    if len(values) != ends[-1]:  # (4, tokens of all)
        # which dimension differs is lost on the way from another process
        data["position_ids"] = torch.nested.nested_tensor_from_jagged(values, ends, jagged_dim=2)
        return
    data["position_ids"] = tensordict_utils.nested_tensor_from_tensor_list(
        list(values.unflatten(0, (positions.shape[0], -1))), ragged_idx=2
    )


tensordict_utils.maybe_fix_3d_position_ids = fix
