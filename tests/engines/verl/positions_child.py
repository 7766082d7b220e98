"""Runs in the engine's interpreter: batches of token places, taken apart as verl does before an update."""

import json
import pickle

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers import engine_workers
from verl.workers.engine import base


def places(*lengths: int) -> list[torch.Tensor]:
    """Of sequences, each (4, tokens)."""
    return [1_000 * row + torch.arange(4 * length).reshape(4, length) for row, length in enumerate(lengths)]


def taken_apart(rows: list[torch.Tensor], sent: bool) -> str:
    """What becomes of sequences that a worker gets, fixed, and selects from back to front; "same" if nothing."""
    jagged = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
    batch = TensorDict({"position_ids": jagged, "input_ids": jagged}, len(rows))
    if sent:
        batch = pickle.loads(pickle.dumps(batch.consolidate()))
    try:
        engine_workers.maybe_fix_3d_position_ids(batch)
        chosen = tu.index_select_tensor_dict(batch.select("position_ids"), list(range(len(rows)))[::-1])
        base.maybe_fix_3d_position_ids(chosen)
        back = chosen["position_ids"].unbind()
    except RuntimeError as error:
        return str(error)
    return "same" if all(map(torch.equal, back, rows[::-1])) else str([row.shape for row in back])


CASES = {"differ": (70, 90, 80), "equal": (90, 90, 90), "one": (9,), "4 x rows": (8, 8), "two": (5, 5)}
print(
    json.dumps(
        {
            f"{name}{', sent' * sent}": taken_apart(places(*lengths), sent)
            for name, lengths in CASES.items()
            for sent in (False, True)
        }
    )
)
