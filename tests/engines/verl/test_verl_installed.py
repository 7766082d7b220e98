"""What we say of verl's keys is what the installed verl does."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import verl_source
from rl_engine import PLATFORM
from support.called import virc as run_virc
from support.engine_python import interpreter
from training import stage_plans

import virc
from virc.config import dotted as nested
from virc.engines.verl.keys import KEYS
from virc.stages.resolve import Resolved

RECIPES = Path(virc.__file__).parents[1]


def last(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


@pytest.mark.engine
def test_every_key_that_a_stage_gets_is_read() -> None:
    readers = verl_source.readers()
    given = {name for resolved in stages_of_rl() for name in stage_plans.engine_keys(stage_plans.plan(resolved))}
    handed_on = (
        "ray_kwargs.ray_init.",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.",
        "trainer.v1.sampler.sampler_kwargs.",
    )
    unread = [name for name in given if last(name) not in readers and not name.startswith(handed_on)]
    assert len(given) > 50
    assert not unread


def stages_of_rl() -> list[Resolved]:
    """The golden cases of kind rl."""
    return [resolved for resolved in stage_plans.cases() if resolved.kind == "rl"]


def in_engine(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the engine's environment, on its CPU platform."""
    environment = {**os.environ, "PYTHONPATH": str(RECIPES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    # Stages for GPUs are looked at too, on machines that have none.
    environment |= {"PYTHONSAFEPATH": "1", **PLATFORM}
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

for file in sys.argv[1:]:
    config = verl_config.composed(Path(file))
    validate_config(config, need_reference_policy(config), need_critic(config))
    for part in ("actor", "rollout"):
        omega_conf_to_dataclass(config.actor_rollout_ref[part])
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    print(json.dumps({"critic": need_critic(config), "reference": need_reference_policy(config), "config": plain}))
"""


KNOWN = """
import json, sys
from omegaconf import OmegaConf
from virc.engines.verl import config as verl_config

names, wanted = json.load(open(sys.argv[1]))
plain = OmegaConf.to_container(verl_config.default(), resolve=True)

def default(path):
    node = plain
    for key in path[:-1]:
        node = node[key]
    if path[-1] in node:
        return node[path[-1]]
    return verl_config.fields(node)[path[-1]].default

unknown = [name for name in names if not verl_config.known(plain, tuple(name.split(".")))]
print(json.dumps({"unknown": unknown, "defaults": {name: default(name.split(".")) for name in wanted}}))
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
def test_every_key_that_is_named_here_is_one_of_the_engine(tmp_path: Path) -> None:
    """Those that virc sets, those that a user may not set, and the defaults that published values are compared with."""
    ours = {name for name, key in KEYS.keys.items() if key.settings or key.fixed or key.instead}
    defaults = {name: key.default for name, key in KEYS.keys.items() if key.default is not None}
    (tmp_path / "names.json").write_text(json.dumps([sorted({*ours, *KEYS.refused}), sorted(defaults)]))
    found = json.loads(in_engine(KNOWN, str(tmp_path / "names.json")).stdout.splitlines()[-1])
    assert found["unknown"] == []
    assert found["defaults"] == defaults


@pytest.mark.engine
def test_an_unknown_key_is_named_before_ray_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_virc("data", "synth", "--to", "data/polygons", "--count", 16, "--seed", 1, "--formats", "rl").code == 0
    unknown = "actor_rollout_ref.actor.ppo_epoch"
    words = ("--from", "tiny", "--name", "run", "--set", "steps=1", "--set", f"engine.{unknown}=2")
    done = run_virc("train", "tiny", "--stage", "rl", *words)
    assert done.code == 7
    assert f"error: verl failed: verl has no key '{unknown}'\nhint: " in done.err
    assert "Started a local Ray instance" not in Path("runs/run/logs/attempt_1/engine.log").read_text()
