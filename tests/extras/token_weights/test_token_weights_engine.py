"""Token weights in the real verl, on `tiny`: the loss of a batch, and steps of a stage."""

import json
from pathlib import Path

import pytest
from engines.verl.rl_engine import child
from PIL import Image
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


def test_the_loss_of_a_group_with_a_stored_reply_is_that_of_the_published_program() -> None:
    """Up to what deviations are divided by: 1e-4 more there, 1e-6 in verl."""
    file = HERE / "stored.json"
    for ours, case in zip(child(HERE / "stored_child.py", file), json.loads(file.read_bytes())["cases"], strict=True):
        assert ours == pytest.approx([case["loss"], *(each for row in case["slope"] for each in row)], abs=1e-4)


def test_the_last_reply_of_a_group_is_the_stored_one_and_becomes_more_likely(tmp_path: Path) -> None:
    """The first of two rows has none, so that all of its replies are drawn."""
    told, rows = "<think>Two and three.</think><answer>5</answer>", []
    for at in range(2):
        Image.new("RGB", (168, 112), (at * 40, 90, 90)).save(tmp_path / f"{at}.png")
        rows.append({"id": at, "question": "How many?", "answer": "5", "image": f"{at}.png"})
        rows[-1] |= {"stored_reply": told} if at else {}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = "rows.jsonl --system tiny --to data --name rows --format prompts --workers 1".split()
    assert workspaces.run(tmp_path, "data", "convert", *words).returncode == 0
    words = ["--set", "token_weights={stored: {}}", *"--from tiny --with multi-turn --data data/rows.parquet".split()]
    small = {"train_batch_size": 2, "ppo_mini_batch_size": 2, "micro_batch_size_per_device": 1, "n": 3, "rollouts": 1}
    run = workspaces.trained(tmp_path, "tiny", "rl", *words, **SETTINGS | small)
    logged = [json.loads(line)["data"] for line in (run / "logs" / "verl.jsonl").read_text().splitlines()]
    assert logged[0]["actor/stored_log_prob"] < logged[1]["actor/stored_log_prob"] < 0
    assert all(each["training/rollout_actor_probs_pearson_corr"] > 0.99 for each in logged)
    traces = [json.loads(file.read_bytes()) for file in (run / "rollouts" / "step_1").glob("*/trace.json")]
    assert sorted(trace["messages"][-1]["text"] == told for trace in traces) == [False] * 5 + [True]
