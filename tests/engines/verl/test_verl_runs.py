"""verl itself, on `tiny`, with rollouts by transformers: what is learnt, what stays, and what a run leaves behind."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rl_engine import HERE, TINY, child, environment
from support.called import virc
from support.engine_python import interpreter
from support.loopback import free_port
from verl_runs import EQUAL, Ended, Started, changed, kill_worker, settings, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

FREEZES = {"actor_rollout_ref__model__external_lib": "virc.engines.verl.external"}
PEARSON = "training/rollout_actor_probs_pearson_corr"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "data"
    made = virc("data", "synth", "--to", folder, "--count", 16, "--formats", "rl,prompts")
    assert made.code == 0, made.err
    return folder


@pytest.fixture(scope="module")
def frozen(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two steps of whole problems, vision tower and projector frozen, with a KL loss and validation. In the third its
    agent loop worker is killed, for which verl alone waits without end.
    """
    folder = tmp_path_factory.mktemp("frozen")
    config = changed(
        settings(folder, data, "multi_turn"),
        **FREEZES,
        actor_rollout_ref__actor__use_kl_loss=True,
        trainer__test_freq=2,
        trainer__total_training_steps=50,
    )
    run = Started(folder, config, VIRC_FROZEN="vision,projector")
    run.until("step:2 - ")
    killed = kill_worker(run.mark, "AgentLoopWorkerTQ")
    ended = run.ended()
    check_named(ended, "agent loop worker", killed)
    assert run.left() == []
    assert run.folders() == []
    return ended


@pytest.fixture(scope="module")
def resumed(frozen: Ended, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The second step, from the checkpoint of the first; nothing frozen, groups without variance dropped. In the third
    its reward worker is killed.
    """
    folder = tmp_path_factory.mktemp("resumed")
    config = changed(
        settings(folder, data, "multi_turn"),
        trainer__total_training_steps=50,
        trainer__resume_mode="resume_path",
        trainer__resume_from_path=str(frozen.checkpoints / "global_step_1"),
        algorithm__filter_groups={"enable": True, "metric": "reward"},
        trainer__v1__sampler__sampler_kwargs={
            "poll_interval": 0.1,
            "filter_groups_metric": "reward",
            "train_batch_size": 2,
            "gen_batch_size": 1,
        },
    )
    run = Started(folder, config)
    run.until("step:2 - ")
    killed = kill_worker(run.mark, "RewardLoopWorker")
    ended = run.ended()
    check_named(ended, "reward worker", killed)
    return ended


def check_named(run: Ended, worker: str, process: int) -> None:
    """A dead worker ends the run, before any limit of verl's, and is named in its last line."""
    assert run.code == 1
    last = run.log.rstrip().splitlines()[-1]
    assert last.startswith(f"virc: EngineError: its {worker} died (process {process} on "), run.log[-5000:]


def weights(run: Ended, step: int) -> Any:
    return child("weights_child.py", TINY, run.checkpoints / f"global_step_{step}")


def test_rollouts_are_of_the_weights_that_learn(frozen: Ended, resumed: Ended) -> None:
    assert sorted(frozen.steps)[:2] == [1, 2]
    for step in (*frozen.steps.values(), *resumed.steps.values()):
        assert step[PEARSON] > 0.99
        assert step["training/rollout_probs_diff_max"] < EQUAL
        assert step["actor/grad_norm"] > 0


def test_the_actor_is_checked_once_to_see_the_pictures(frozen: Ended) -> None:
    assert frozen.log.count("virc: the actor sees the pictures of its rollouts") == 1


def test_frozen_parts_stay_bit_equal(frozen: Ended) -> None:
    found = weights(frozen, 2)
    for part in ("vision", "projector"):
        assert found["parts"][part]["equal"] == found["parts"][part]["weights"] > 0
    assert found["parts"]["language"]["change"] > 1e-6
    assert found["steps"] == [2]


def test_a_reference_model_gives_a_kl_loss(frozen: Ended) -> None:
    assert all("actor/kl_loss" in step for step in frozen.steps.values())
    assert frozen.steps[2]["actor/kl_loss"] > 0


def test_a_resumed_run_goes_on_with_its_optimizer(frozen: Ended, resumed: Ended) -> None:
    """And nothing is frozen without being asked: all parts have changed."""
    assert min(resumed.steps) == 2
    found = weights(resumed, 2)
    assert found["steps"] == [1, 2]  # the language model's second step, the first of what was frozen
    assert all(found["parts"][part]["change"] > 0 for part in ("vision", "projector", "language"))


def test_a_blind_actor_ends_the_run_at_its_first_step(data: Path, tmp_path: Path) -> None:
    config = changed(settings(tmp_path, data, "multi_turn"), actor_rollout_ref__model__external_lib="blind_actor")
    ended = Started(tmp_path, config, PYTHONPATH=f"{environment()['PYTHONPATH']}:{HERE}").ended()
    assert ended.code == 1
    said = "the trainer does not see picture 1 of "
    assert ended.log.rstrip().splitlines()[-1].startswith(f"virc: ConfigError: {said}"), ended.log[-3000:]
    assert ended.steps == {}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A cluster of one node that runs already; its `args` end with its address."""
    folder, address = Path(f"/tmp/virc-test-{os.getpid()}"), f"127.0.0.1:{free_port()}"
    ray = [str(interpreter("rl").parent / "ray"), "start", "--head", "--block", "--include-dashboard=false"]
    sizes = ["--num-cpus=6", "--num-gpus=1", f"--temp-dir={folder}", f"--port={address.partition(':')[2]}"]
    with (tmp_path / "cluster.log").open("wb") as log:
        node = subprocess.Popen([*ray, *sizes], env=environment(RAY_AUTH_MODE="disabled"), stdout=log, stderr=log)
    node.args = address
    try:
        wait_for(lambda: answers(address))
        yield node
    finally:
        node.terminate()
        node.wait(240)
        shutil.rmtree(folder, ignore_errors=True)


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def test_a_failed_reward_stops_the_run_but_not_the_cluster_it_joined(
    data: Path, tmp_path: Path, cluster: "subprocess.Popen[bytes]"
) -> None:
    """verl alone would put empty rows in the place of failed rollouts and go on."""
    config = changed(settings(tmp_path, data, "per_cru"), reward__custom_reward_function__name="fails")
    run = Started(tmp_path, config, RAY_ADDRESS=str(cluster.args), RAY_AUTH_MODE="disabled")
    ended = run.ended()
    assert ended.code == 1
    said = "a rollout or its reward failed: ConnectionError: the judge does not answer"
    assert ended.log.rstrip().splitlines()[-1] == f"virc: RuntimeError: {said}"
    assert ended.steps == {}
    wait_for(lambda: not run.left())
    assert cluster.poll() is None
    assert answers(str(cluster.args))
