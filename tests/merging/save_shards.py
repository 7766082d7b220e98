"""Saves a model as verl saves its actor: FSDP2 over gloo, through verl's own checkpoint manager.

`torchrun --nproc-per-node N save_shards.py MODEL FOLDER [RANK ALPHA]`, in the environment of verl. With a rank it
saves a LoRA adapter too, as `model.lora_rank` would have it; its factors are random. The weights in float32 lie beside,
in FOLDER/expected.pt, which says what a merge must give.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText, AutoProcessor
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager  # type: ignore[import-not-found]


def main(model: str, folder: str, rank: int = 0, alpha: int = 0) -> None:
    """Save it; weights are moved, so that they are others and no numbers of bfloat16."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    network = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1 + 0.01 * torch.randn(weight.shape))
    if rank:
        network = adapted(network, rank, alpha)
    if dist.get_rank() == 0:
        Path(folder).mkdir(parents=True)
        torch.save(expected(network, rank, alpha), Path(folder) / "expected.pt")
    inner = network.get_base_model() if rank else network
    mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("fsdp",))
    for layer in (*inner.model.language_model.layers, *inner.model.visual.blocks):
        fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    FSDPCheckpointManager(
        network,
        torch.optim.AdamW(network.parameters()),
        processing_class=AutoProcessor.from_pretrained(model),
        checkpoint_config={"save_contents": ["model"], "load_contents": ["model"]},
    ).save_checkpoint(str(Path(folder) / "actor"), global_step=5)
    dist.destroy_process_group()


def adapted(network, rank: int, alpha: int):  # type: ignore[no-untyped-def]
    """The network with random LoRA factors on its language layers."""
    from peft import LoraConfig, get_peft_model  # type: ignore[import-not-found]

    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, target_modules=["q_proj", "down_proj"], bias="none"
    )
    network = get_peft_model(network, config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.05)
    return network


def expected(network, rank: int, alpha: int) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    """Every weight, the adapter's products added, by the name it has without an adapter."""
    whole = {name: value.detach().clone() for name, value in network.state_dict().items()}
    found = {}
    for name, value in whole.items():
        if "lora_" in name:
            continue
        down = whole.get(name.replace("base_layer.weight", "lora_A.default.weight"))
        up = whole.get(name.replace("base_layer.weight", "lora_B.default.weight"))
        added = up @ down * (alpha / rank) if "base_layer.weight" in name else 0
        found[name.removeprefix("base_model.model.").replace(".base_layer", "")] = value + added
    return found


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]))
