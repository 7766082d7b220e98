"""verl itself on a Ray cluster of two nodes, one of which is lost while it trains."""

from pathlib import Path

import pytest
import ray_cluster
from support import workspaces

from virc.runs.metrics import metrics
from virc.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

SETTINGS = {
    "nodes": 2, "steps": 3, "save_steps": 1, "train_batch_size": 2, "ppo_mini_batch_size": 2,
    "micro_batch_size_per_device": 2, "n": 2,
}  # fmt: skip


def test_a_lost_node_is_named_and_the_run_goes_on_when_there_are_two_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "trackers-secret")
    workspaces.synth(tmp_path, 8, "rl")
    run = Run(tmp_path / "runs" / "far")
    with ray_cluster.running(2) as cluster:
        words = ("--launcher", "ray", "--ray-address", cluster.address, *workspaces.sets(SETTINGS))
        process = workspaces.start(
            tmp_path, "train", "tiny", "--stage", "rl", "--from", "tiny", "--name", "far", *words
        )
        workspaces.until_step(process, run.folder, 1, "reward")
        nodes = _nodes_of_workers(cluster)
        assert len(nodes) == 2, nodes
        assert "trackers-secret" not in cluster.shown()
        cluster.kill_node()
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 7, errors
        (lost,) = [node for node in nodes if node not in cluster.nodes()]
        assert "error: verl failed: the cluster lost the node " in errors
        assert f"(Ray's {lost[:8]}): health check failed" in errors
        assert (run.checkpoints / "global_step_1" / "actor").is_dir()
        cluster.add_node()
        (run.folder / "code").mkdir(exist_ok=True)
        (run.folder / "code" / "find.yaml").write_text("env: {SPOT: '${VERL_SPOT}'}")  # not named like a key
        monkeypatch.setenv("VERL_SPOT", "tools-secret")
        done = workspaces.run(tmp_path, "train", "--resume", "--name", "far")
        shown = cluster.shown()
        assert "VERL_SPOT,WANDB_API_KEY" in shown
        assert "tools-secret" not in shown
        jobs = ray_cluster.answer(f"{cluster.address}/api/jobs/")
        assert sorted(job["status"] for job in jobs) == ["FAILED", "SUCCEEDED"]
    assert done.returncode == 0, done.stderr + run.log(2).read_text()[-5000:]
    assert "resuming from step" in done.stderr
    steps = metrics(run)
    assert [step.step for step in steps] == [1, 2, 3]
    assert all({"format", "tool_choice"} <= step.terms.keys() for step in steps)
    assert all(step.reward is not None and -1 <= step.reward <= 1 for step in steps)
    assert workspaces.state(run.folder)["progress"] == "finished"


def _nodes_of_workers(cluster: ray_cluster.Cluster) -> set[str]:
    """The nodes that verl's actors are on."""
    found = ray_cluster.answer(f"{cluster.address}/api/v0/actors?detail=1&limit=1000")["data"]["result"]["result"]
    return {actor["node_id"] for actor in found if "WorkerDict" in actor["class_name"]}
