"""How merging shards compares with verl's merger and with copying the bytes: `python benchmarks/merge.py [GIB]`.

It makes a checkpoint of two processes: random DTensors in float32, GIB in all (default 2), of a Qwen2.5-VL as deep as
that needs. What each way takes to import alone is measured too and subtracted. Memory is the peak of the process.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "recipes"
TINY = RECIPES / "virc" / "models" / "tiny"
WIDTH, INNER, WORDS = 1024, 4096, 8192
MAKE = """
import sys
from pathlib import Path
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from virc.engines.verl.merge import empty
import torch.distributed as dist
actor = Path(sys.argv[1])
dist.init_process_group("gloo", rank=int(sys.argv[2]), world_size=2, init_method="file://" + sys.argv[3])
mesh = DeviceMesh("cpu", [0, 1], mesh_dim_names=("fsdp",))
torch.manual_seed(0)
state, drawn = {}, {}
network = empty(actor / "huggingface")
for name, weight in network.named_parameters(remove_duplicate=False):
    whole = drawn.setdefault(id(weight), torch.randn(weight.shape))
    piece = whole.chunk(2)[dist.get_rank()].clone()
    state[name] = DTensor.from_local(piece, mesh, [Shard(0)], run_check=False)
torch.save(state, actor / f"model_world_size_2_rank_{dist.get_rank()}.pt")
"""
OURS, VERL = "virc.engines.verl.merge", "verl.model_merger"
IMPORTS = {OURS: f"import {OURS}", VERL: "import verl.model_merger.fsdp_model_merger"}


def interpreter() -> str:
    """The interpreter of verl's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "virc_cli", "env", "path", "rl", "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def make(python: str, actor: Path, gib: float) -> int:
    """Save the checkpoint; returns the bytes of its shards."""
    texts = actor / "huggingface"
    shutil.copytree(TINY, texts, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((TINY / "config.json").read_bytes())
    layer = 4 * (2.5 * WIDTH**2 + 3 * WIDTH * INNER)  # bytes of one layer in float32: attention, then the MLP
    layers = max(1, round(gib * 2**30 / layer))
    config["text_config"] |= {
        "hidden_size": WIDTH, "intermediate_size": INNER, "vocab_size": WORDS, "num_hidden_layers": layers,
        "layer_types": ["full_attention"] * layers, "num_attention_heads": 16, "num_key_value_heads": 4,
        "max_window_layers": layers, "rope_parameters": {
            "mrope_section": [8, 12, 12], "rope_theta": 1e4, "rope_type": "default", "type": "mrope",
        },
    }  # fmt: skip
    config["vision_config"]["out_hidden_size"] = WIDTH
    (texts / "config.json").write_text(json.dumps(config))
    (actor / "fsdp_config.json").write_text('{"FSDP_version": 2, "world_size": 2}')
    words = [python, "-c", MAKE, str(actor)]
    ranks = [subprocess.Popen([*words, str(rank), str(actor / "store")], env=env()) for rank in range(2)]
    assert all(rank.wait() == 0 for rank in ranks)
    return sum(file.stat().st_size for file in actor.glob("*.pt"))


def env() -> dict[str, str]:
    """What every process gets."""
    return {**os.environ, "PYTHONPATH": str(RECIPES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in GiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, said.decode()[-2000:]
    return time.perf_counter() - start, used.ru_maxrss / 2**20


def copied(actor: Path, to: Path) -> float:
    """Seconds to copy the shards, onto the disk."""
    start = time.perf_counter()
    for file in actor.glob("*.pt"):
        with (to / file.name).open("wb") as target, file.open("rb") as source:
            shutil.copyfileobj(source, target, 2**24)
            os.fsync(target.fileno())
    return time.perf_counter() - start


def main(gib: float = 2) -> None:
    """Print seconds, memory and ratios of each way, in one round."""
    python = interpreter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        actor = folder / "actor"
        size = make(python, actor, gib) / 2**30
        ours, theirs, copy = (folder / name for name in ("ours", "theirs", "copy"))
        ours.mkdir()
        copy.mkdir()
        given = {
            OURS: [str(actor), str(ours)],
            VERL: ["merge", "--backend", "fsdp", "--local_dir", str(actor), "--target_dir", str(theirs)],
        }
        seconds, peak = {}, {}
        for module, words in given.items():
            idle, _ = measured([python, "-c", IMPORTS[module]])
            took, peak[module] = measured([python, "-m", module, *words])
            seconds[module] = took - idle
            print(f"{module}: {seconds[module]:.1f} s and {idle:.1f} s of imports, peak {peak[module]:.1f} GiB")
        plain = copied(actor, copy)
        print(f"copying {size:.2f} GiB: {plain:.1f} s")
        same = all((ours / file.name).read_bytes() == file.read_bytes() for file in theirs.glob("*.safetensors"))
        print(f"ours / verl's {seconds[OURS] / seconds[VERL]:.2f} in time, ", end="")
        print(f"{peak[OURS] / peak[VERL]:.2f} in memory; ours / copy {seconds[OURS] / plain:.2f}; ", end="")
        print("the same bytes" if same else "NOT the same bytes")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
