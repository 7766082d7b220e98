"""The published stages: every key and value that their engines get, and where they are not the published ones."""

import os
import subprocess
from pathlib import Path

import pytest
import stage_plans
from support.engine_python import interpreter
from support.loopback import free_port

from virc.engines import registry as engines
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems import registry as systems

SYSTEMS = [system for system in systems.discover().values() if any(s.published for s in system.stages.values())]


def test_the_golden_files_are_what_the_engine_gets() -> None:
    found = {path: path.read_text(encoding="utf-8") for path in stage_plans.GOLDEN.glob("*.yaml")}
    assert found == stage_plans.golden(), "run: python tests/regenerate.py"


def published_stages() -> list[Resolved]:
    """Every published stage as it is, and the cases of the golden files."""
    found = [resolved for resolved in stage_plans.cases() if resolved.published]
    for system in SYSTEMS:
        found += [stages.resolve(system, name) for name, stage in system.stages.items() if stage.published]
    return list({stage_plans.name(resolved): resolved for resolved in found}.values())


@pytest.mark.parametrize("resolved", published_stages(), ids=stage_plans.name)
def test_every_published_key_is_the_same_or_its_change_has_a_reason_and_is_known(resolved: Resolved) -> None:
    if getattr(resolved.config, "token_weights", None):
        pytest.importorskip("virc_extras")
    planned = stage_plans.plan(resolved)
    given, table = stage_plans.engine_keys(planned), engines.of_kind(resolved.kind).keys
    ours = {key: given.get(key, table.default(key)) for key in resolved.published.keys() | given.keys()}
    changes = {change.key: change for change in planned.changes}
    assert set(changes) == {key for key, value in ours.items() if value != resolved.published.get(key)}
    for key, change in changes.items():
        assert (change.published, change.ours) == (resolved.published.get(key), ours[key])
        assert change.why not in ("", "as by default", resolved.system.name), key
    of_system = table.leaves(resolved.config.engine)
    assert not list(table.faults(of_system))
    known = {name for name, key in table.keys.items() if key.settings or key.fixed}
    assert given.keys() - of_system.keys() <= known, "a user could set it over ours"


# The engine's own parser. This machine may lack a GPU and the packages that need one: then it is told of a GPU that
# computes in bf16, and of liger-kernel, and checks everything else as ever. DeepSpeed, which joins the one process,
# would compile an operation for minutes.
PARSE = """
import sys
from importlib.util import find_spec
import deepspeed, torch, yaml
from llamafactory.hparams import parser
from transformers import training_args

check = parser.check_version
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
if not torch.cuda.is_available():
    training_args.is_torch_bf16_gpu_available = lambda: True
if find_spec("liger_kernel") is None:
    parser.check_version = lambda what, mandatory=False: what == "liger-kernel" or check(what, mandatory)
for file in sys.argv[1:]:
    _, _, training, tuning, _ = parser.get_train_args(yaml.safe_load(open(file)))
    print("taken", file, training.get_warmup_steps(1000), tuning.finetuning_type)
"""


def written(resolved: Resolved, folder: Path) -> Path:
    """The case's files, written as a run would; returns the one with the engine's keys."""
    planned = stage_plans.plan(resolved, folder / stage_plans.name(resolved))
    for file, text in planned.files.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text, encoding="utf-8")
    return Path(stage_plans.settings(planned))


@pytest.mark.engine
@pytest.mark.parametrize("spread", [False, True], ids=["alone", "torchrun"])
def test_llamafactory_takes_every_golden_file(spread: bool, tmp_path: Path) -> None:
    ours = [resolved for resolved in stage_plans.cases() if resolved.kind != "rl"]
    chosen = [resolved for resolved in ours if bool(resolved.config.zero) == spread]
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    rank["MASTER_PORT"] = str(free_port())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"DS_ACCELERATOR": "cpu", **(rank if spread else {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    python = interpreter("sft")
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    command = [str(python), "-c", PARSE, *(str(written(resolved, tmp_path)) for resolved in chosen)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    taken = [line.split() for line in done.stdout.splitlines() if line.startswith("taken ")]
    assert len(taken) == len(chosen) > 0, done.stderr[-2000:]
    for resolved, (*_, warmup, method) in zip(chosen, taken, strict=True):
        assert int(warmup) == 1000 * resolved.config.warmup_ratio
        assert method == ("lora" if resolved.config.lora else "full")
