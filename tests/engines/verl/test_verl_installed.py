"""What we say of verl's keys is what the installed verl does."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import engine_keys
import pytest
import verl_source
import yaml
from support.engine_python import interpreter
from training import stage_plans

import virc
from virc.config import dotted as nested
from virc.engines.verl import plan as verl
from virc.engines.verl.plan import KEYS
from virc.stages.resolve import Resolved

RECIPES = Path(virc.__file__).parents[1]
KEYS_FILE = Path(verl.__file__).with_name("keys.json")

WITHOUT_EFFECT = {
    "data.reward_fn_key": {"verl/experimental/reward_loop/reward_manager/limited.py"},
    "data.truncation": {
        # a default of tokenizing, of fine-tuning, and stored where nothing looks at it
        "verl/utils/torch_functional.py", "verl/utils/dataset/multiturn_sft_dataset.py",
        "verl/utils/dataset/rl_dataset.py",
    },
    "actor_rollout_ref.actor.ppo_infer_micro_batch_size_per_gpu": {"verl/workers/config/actor.py"},
    "actor_rollout_ref.actor.use_prefix_grouper": {"verl/models/transformers/monkey_patch.py"},
    "actor_rollout_ref.model.generation_config": {"verl/workers/config/model.py"},
    "algorithm.pf_ppo.reweight_method": {"verl/trainer/ppo/core_algos.py"},
    "algorithm.pf_ppo.weight_pow": {"verl/trainer/ppo/core_algos.py"},
    "trainer.ray_wait_register_center_timeout": {"verl/single_controller/ray/base.py"},
}  # fmt: skip
"""Where a name of a dead key stands in the code of a stage: other things of that name, or where it is put down."""


def last(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


@pytest.mark.engine
def test_dead_keys_are_read_nowhere_in_a_stage() -> None:
    readers = verl_source.readers()
    dead = [name for name in KEYS.accepted if (KEYS.verdict(name) or ("",))[0] == "dead"]
    found = {name: readers[last(name)] for name in dead if last(name) in readers}
    assert len(dead) > 20
    assert found == WITHOUT_EFFECT


@pytest.mark.engine
def test_every_key_that_can_be_set_is_read_in_a_stage() -> None:
    readers = verl_source.readers()
    open_to_all = [name for name in KEYS.accepted if not KEYS.verdict(name) and name not in KEYS.ours]
    unread = [name for name in open_to_all if not {last(name), last(name.rpartition(".")[0])} & readers.keys()]
    assert len(open_to_all) > 100
    assert not unread


@pytest.mark.engine
def test_every_key_that_a_stage_gets_is_read() -> None:
    readers = verl_source.readers()
    given = {name for resolved in stages_of_rl() for name in stage_plans.engine_keys(stage_plans.plan(resolved))}
    handed_on = ("ray_kwargs.ray_init.", f"{verl.VLLM}.", "trainer.v1.sampler.sampler_kwargs.")
    unread = [name for name in given if last(name) not in readers and not name.startswith(handed_on)]
    assert len(given) > 50
    assert not unread


@pytest.mark.engine
def test_what_nothing_reads_has_one_reader_that_stores_it() -> None:
    """`data.truncation` is put down by the data set, and never looked at again."""
    packages = next((interpreter("rl").parent.parent / "lib").glob("python3*/site-packages"))
    source = (packages / "verl/utils/dataset/rl_dataset.py").read_text()
    assert [line.strip() for line in source.splitlines() if "self.truncation" in line] == [
        'self.truncation = config.get("truncation", "error")'
    ]


def stages_of_rl() -> list[Resolved]:
    """The golden cases of kind rl."""
    return [resolved for resolved in stage_plans.cases() if resolved.kind == "rl"]


def in_engine(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the engine's environment, on its CPU platform."""
    environment = {**os.environ, "PYTHONPATH": str(RECIPES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    # Stages for GPUs are looked at too, on machines that have none.
    environment |= {"PYTHONSAFEPATH": "1", "VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda"}
    environment |= {"VERL_USE_EXTERNAL_MODULES": verl.PLUG_INS_CPU}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(interpreter("rl")), "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


COMPOSE = """
import json, sys
from pathlib import Path
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from virc.engines.verl import config as verl_config
from virc.core.errors import ConfigError

for file in sys.argv[1:]:
    try:
        config = verl_config.composed(Path(file))
    except ConfigError as error:
        print(json.dumps({"refused": error.message}))
        continue
    validate_config(config, need_reference_policy(config), need_critic(config))
    for part in ("actor", "rollout"):
        omega_conf_to_dataclass(config.actor_rollout_ref[part])
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    print(json.dumps({"critic": need_critic(config), "reference": need_reference_policy(config), "config": plain}))
"""


def composed(folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    """What verl makes of each of these files."""
    files = [folder / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    done = in_engine(COMPOSE, *map(str, files))
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == len(texts), done.stderr[-3000:]
    return found


@pytest.mark.engine
def test_verl_composes_and_validates_every_golden_file(tmp_path: Path) -> None:
    stages = stages_of_rl()
    planned = [stage_plans.plan(resolved) for resolved in stages]
    found = composed(tmp_path, [plan.files[stage_plans.settings(plan)] for plan in planned])
    for resolved, plan, each in zip(stages, planned, found, strict=True):
        # A reference model is held where the loss weighs the distance to it, and nowhere else.
        assert (each["critic"], each["reference"]) == (False, resolved.config.kl_loss_coef > 0)
        for name, value in stage_plans.engine_keys(plan).items():
            assert nested.at(each["config"], tuple(name.split("."))) == value, name


@pytest.mark.engine
def test_verl_refuses_an_unknown_key_and_takes_those_of_its_classes(tmp_path: Path) -> None:
    plan = stage_plans.plan(stages_of_rl()[0])
    keys = yaml.safe_load(plan.files[stage_plans.settings(plan)])
    texts = []
    for name in (
        "actor_rollout_ref.actor.foo",
        "trainer.nnodes.more",
        "foo",
        "actor_rollout_ref.rollout.limit_images.x",
    ):
        wrong = nested.without(
            keys, {("actor_rollout_ref", "rollout", "limit_images")} if name.endswith(".x") else set()
        )
        nested.put(wrong, tuple(name.split(".")), 1)
        texts.append(yaml.safe_dump(wrong))
    found = composed(tmp_path, texts)
    assert [each.get("refused", "")[:20] for each in found] == [
        "verl has no key 'act",
        "verl has no key 'tra",
        "verl has no key 'foo",
        "verl has no key 'act",
    ]


@pytest.mark.engine
def test_the_list_of_keys_is_that_of_the_installed_engine(tmp_path: Path) -> None:
    code = f"import sys; sys.path.append({str(Path(engine_keys.__file__).parent)!r}); from engine_keys import main; "
    done = in_engine(f"{code}main('verl', sys.argv[1])", str(tmp_path / "keys.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "keys.json").read_bytes() == KEYS_FILE.read_bytes()
