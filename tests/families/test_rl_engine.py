"""Each family that is trained by verl: a random model of its architecture, and one step on rows with crops."""

import json
from pathlib import Path

import pytest
from backends import tiny_factory
from engines.verl import rl_engine
from support import workspaces

from virc.families import registry as families
from virc.models import sizes
from virc.stages.sft import Lora

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

KINDS = [kind for family in families.discover().values() for kind in family.rl]
LONG = '''"""Long replies are better, so that replies of a random model differ in worth."""

TERMS = ("long",)


def long(sample, means):
    return len(sample.text) / 1000


def total(t):
    return t.long
'''


def trained(kind: str, tmp_path: Path, *more: str, **settings: object) -> tuple[Path, Path]:
    """A base, and the run of one step on it."""
    base = tiny_factory.build(tmp_path / "base", kind)
    workspaces.synth(tmp_path, 8, "rl")
    unit = "pixel" if families.by_model_type(kind).coordinates == "pixel" else "permille"
    convert = ("data", "convert", "data/polygons/rl.parquet", "--to", "rows", "--format", "rl", "--coordinates", unit)
    assert workspaces.run(tmp_path, *convert).returncode == 0
    (tmp_path / "long.py").write_text(LONG)
    workspaces.copy_of_tiny(tmp_path, "long", "total: rules", "total: ./long.py")
    given = {"steps": 1, "save_steps": 1, "train_batch_size": 2, "ppo_mini_batch_size": 2, "n": 4,
             "learning_rate": 1e-2, "prompt_length": 2048, "response_length": 64}  # fmt: skip
    rows = next((tmp_path / "rows").glob("*.parquet"))
    words = ("--from", str(base), "--data", str(rows), *more)
    return base, workspaces.trained(tmp_path, "./long.yaml", "rl", *words, **given | settings)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_changes_the_parts_that_are_not_frozen(kind: str, tmp_path: Path) -> None:
    base, run = trained(kind, tmp_path, frozen_modules="[vision]")
    (step,) = (json.loads(line)["data"] for line in (run / "logs" / "verl.jsonl").read_text().splitlines())
    assert step["training/rollout_probs_diff_max"] < 1e-3
    assert step["training/rollout_actor_probs_pearson_corr"] > 0.999
    found = rl_engine.child("weights_child.py", base, run / "checkpoints" / "global_step_1")["parts"]
    assert found["vision"]["equal"] == found["vision"]["weights"] > 0
    assert found["projector"]["equal"] == 0 < found["projector"]["weights"]
    assert found["language"]["equal"] < 0.2 * found["language"]["weights"]
    if kind.startswith(("gemma", "lfm2")) or kind.endswith("moe"):  # of which vLLM does not read what is in memory
        assert workspaces.run(tmp_path, "merge", "long-rl", "--to", "merged").returncode == 0
        assert workspaces.shapes(tmp_path / "merged") == workspaces.shapes(base)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_of_an_adapter_trains_the_layers_that_are_counted(kind: str, tmp_path: Path) -> None:
    base, run = trained(kind, tmp_path, "--with", "lora")
    expected = sizes.of_folder(base).trained(Lora(rank=8, alpha=16), ("vision", "projector"), ())
    log = (run / "logs" / "attempt_1" / "engine.log").read_text()
    assert f"virc: {expected['language']:,} parameters are trained" in log
