"""Copies of the logits that verl's own code holds at most in an update; run in the engine's environment, prints JSON.

The lines between are those of `prepare_model_outputs` of verl 0.9.1's FSDP engine without remove_padding.
"""

import json
import sys
from pathlib import Path

import torch
from verl.utils.torch_functional import entropy_from_logits, logprobs_from_logits_v2  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parent))
from held import Held

TOKENS, WORDS, WIDTH = 512, 20_000, 8


def copies(dtype: torch.dtype, entropy: bool) -> float:
    """The most that a second update holds, in copies of the logits."""
    last = torch.nn.Linear(WIDTH, WORDS, bias=False, dtype=dtype)
    hidden = torch.randn(1, TOKENS, WIDTH, dtype=dtype, requires_grad=True)
    labels = torch.zeros(TOKENS, dtype=torch.long)

    def loss() -> torch.Tensor:
        logits = last(hidden)
        more = entropy_from_logits(logits).sum() if entropy else 0
        lengths = torch.tensor([TOKENS])
        jagged = torch.nested.narrow(logits, 1, torch.zeros_like(lengths), lengths, layout=torch.jagged)
        rows = torch.cat(list(jagged.unbind()))
        found: torch.Tensor = logprobs_from_logits_v2(rows, labels).sum() + more
        return found

    def update() -> None:
        loss().backward()  # what is not needed for it is gone by then, as in verl
        last.zero_grad()
        hidden.grad = None

    with Held(last) as held:
        update()
        held.from_here()
        before = held.now
        update()
        return (held.most - before) / (TOKENS * WORDS * last.weight.element_size())


found = {}
for name, kind in (("bf16", torch.bfloat16), ("float32", torch.float32)):
    found |= {name: copies(kind, False), f"{name}+entropy": copies(kind, True)}
print(json.dumps(found))
