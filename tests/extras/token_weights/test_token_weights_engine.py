"""Token weights in the real verl, on `tiny`: the loss of a batch, and steps of a stage."""

import json
from pathlib import Path

import pytest
from engines.verl.rl_engine import child
from support import workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
SETTINGS = {"steps": 2, "save_steps": 2, "train_batch_size": 4, "ppo_mini_batch_size": 4, "n": 4,
            "temperature": 1.3}  # fmt: skip


def test_the_loss_is_that_of_the_published_program() -> None:
    file = HERE / "published.json"
    cases = json.loads(file.read_bytes())["cases"]
    assert child(HERE / "loss_child.py", file) == pytest.approx([case["loss"] for case in cases], abs=2e-6)


def test_tokens_that_depend_on_the_picture_learn(tmp_path: Path) -> None:
    """Chosen tokens depend more on it than others, and rollouts are still drawn from the weights that learn."""
    workspaces.synth(tmp_path, 24, "sft,rl,prompts")
    weights = "token_weights={visual: {share: 0.3, nll: 0.01}}"
    words = ("--from", "tiny", "--with", "multi-turn", "--set", weights)
    run = workspaces.trained(tmp_path, "tiny", "rl", *words, **SETTINGS)
    logged = [json.loads(line)["data"] for line in (run / "logs" / "verl.jsonl").read_text().splitlines()]
    assert len(logged) == 2
    for each in logged:
        assert each["actor/visual_dependence_chosen"] > 10 * each["actor/visual_dependence_others"] > 0
        assert each["training/rollout_actor_probs_pearson_corr"] > 0.99
        assert each["actor/grad_norm"] > 0
