"""Memory of training steps: what `virc doctor` and `virc train --dry-run` estimate beside what plain torch holds.

    PYTHONPATH=.:recipes:tests python benchmarks/gpu_memory.py [MODEL [TOKENS [LAYERS]]]

On a GPU steps run, in the model's own size or with as many layers as fit; without one the tensors of steps on text are
counted and nothing is computed, so any size can be. It prints GiB estimated, measured, and their ratio.
"""

import gc
import sys
from typing import Any

import torch
from support import sized, training_memory

GIB = 2**30
SIDE = 48  # patches of the image: 576 ids


def fitting(name: str, changes: dict[str, Any], tokens: int, device: str, layers: int | None) -> training_memory.Step:
    """The step of a case; on a GPU that is too small for it, with fewer layers."""
    fields, config = sized.fields(name), training_memory.settings(**changes)
    most = layers or fields["text_config"]["num_hidden_layers"]
    for count in range(most, 0, -1):
        text = fields["text_config"] | {"num_hidden_layers": count}
        side = SIDE if device == "cuda" else 0
        step = training_memory.Step(fields | {"text_config": text}, config, tokens, side, device)
        if device == "cpu" or training_memory.estimated_gib(step) < 0.9 * torch.cuda.mem_get_info()[0] / GIB:
            return step
    raise SystemExit(f"this GPU is too small for one layer of {name}")


def main(name: str = sized.NAMES[0], tokens: int = 4096, layers: int | None = None) -> None:
    """Print a table for every case."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{name} on {torch.cuda.get_device_name() if device == 'cuda' else 'no GPU: tensors are counted'}")
    for case, changes in training_memory.CASES.items():
        if device == "cpu" and training_memory.WITH_IMAGE in case:
            continue
        step = fitting(name, changes, tokens, device, layers)
        print(f"\n{case}, {step.fields['text_config']['num_hidden_layers']} layers, {tokens} tokens")
        for row in training_memory.measured(step):
            print(f"  {row.part:52}{row.estimated / GIB:8.2f}{row.measured / GIB:8.2f}{row.ratio:8.3f}", flush=True)
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
            free, whole = torch.cuda.mem_get_info()
            print(f"  {'the process beside its tensors':52}{2.0:8.2f}{(whole - free) / GIB:8.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
