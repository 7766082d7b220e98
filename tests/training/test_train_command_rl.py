"""`virc train --stage rl` before anything starts: its options, its dry run here and on clusters, what it refuses."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.workspaces import without_cluster

SITE = "account: geometry\nshared: [/]\n"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return without_cluster(monkeypatch, tmp_path)


def planned(*words: str) -> dict[str, Any]:
    done = virc("train", *words, "--dry-run", "--json")
    assert done.code == 0, done.err
    said: dict[str, Any] = done.json
    return said


def file_of(said: Mapping[str, Any], name: str) -> str:
    (text,) = (text for path, text in said["files"].items() if Path(path).name == name)
    return str(text)


def messages(said: Mapping[str, Any]) -> str:
    return "\n".join(f"{error['message']} | {error['hint']}" for error in said["missing"])


def test_a_dry_run_counts_the_judge_and_names_every_way_to_one() -> None:
    done = virc("train", "--stage", "rl", "--dry-run")
    assert done.code == 0, done.err
    assert "\npolicy 8 + judge 4 GPUs; here " in done.out
    assert "512 to 1,024 questions to the judge a step" in done.out
    for way in ("--judge-endpoint URL", "--with judge-split", "judge-72b-awq", "--with rules"):
        assert way in done.err
    said = planned("--stage", "rl")
    assert (said["gpus"]["policy"], said["gpus"]["judge"]) == (8, 4)
    assert said["estimate"]["judge_calls"] == [512, 1024]
    assert said["estimate"]["device_gib"] < 80


def test_a_plan_over_its_gpus_ends_with_4_and_what_makes_it_fit() -> None:
    words = ["--stage", "rl", "--with", "3b,lora,1x24g,rules,multi-turn"]
    over = virc("train", *words, "--dry-run")
    assert over.code == 4
    assert over.out.startswith("# estimate for rows of 2560 tokens\n")
    assert over.out.index("\n# command\n") < over.out.index("\n# environment") < over.out.index("\n# notes\n")
    assert "needs 34.0 GiB a device, and is for GPUs with 22.4 GiB (device_gib)" in over.err
    fitting, _, anyway = over.err.rpartition("hint: ")[2].partition("; or ")
    assert planned(*words, *fitting.split())["estimate"]["device_gib"] <= 22.4
    assert planned(*words, *anyway.partition(",")[0].split())["estimate"]["device_gib"] > 22.4
    as_json = virc("train", *words, "--dry-run", "--json").json
    assert (as_json["error"]["code"], as_json["estimate"]["device_gib"] > 22.4) == (4, True)


def test_the_documented_overlays_for_24_gb_fit() -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    documented = re.findall(r"`(--with [^`]*1x24g[^`]*)`", page.partition("## Stage 3")[2])
    assert any("multi-turn" in words for words in documented)
    for words in ("--with 3b,lora,1x24g", *documented):
        assert planned("--stage", "rl", *words.split())["estimate"]["device_gib"] <= 22.4


def test_judge_split_leaves_half_of_the_gpus_to_the_judge() -> None:
    said = planned("--stage", "rl", "--with", "judge-split")
    assert (said["gpus"]["policy"], said["gpus"]["judge"]) == (4, 4)
    gpus = {name: said["environment"][name] for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")}
    assert gpus == {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert "none is named" not in messages(said)


def test_on_slurm_ray_runs_on_every_node_and_the_engine_on_the_first(workspace: Path) -> None:
    (workspace / "site.yaml").write_text(SITE)
    words = ("--launcher", "slurm", "--site", "site.yaml", "--set", "nodes=2", "--name", "far")
    said = planned("--stage", "rl", "--with", "rules", *words)
    assert said["command"][0] == "srun"
    assert "--dry-run" not in messages(said)
    script, node = file_of(said, "slurm.sh"), file_of(said, "node.sh")
    assert "#SBATCH --nodes=2\n" in script
    assert "#SBATCH --gres=gpu:8\n" in script
    assert "VIRC_RAY_PORT" in script
    assert "devices=8\n" in node
    engine = next(line for line in node.splitlines() if line.startswith("engine=("))
    assert "virc.cluster.ray.nodes" in engine
    assert "virc.engines.verl.start" in engine
    asked = json.loads(file_of(said, "ray_nodes.json"))
    assert (asked["nodes"], asked["gpus"]) == (2, 8)
    assert asked["versions"]["verl"] == "0.9.1"
    assert asked["paths"]["the run"] == str(workspace / "runs" / "far")


def test_the_estimate_counts_the_gpus_of_all_nodes_and_of_the_judge_of_the_job(workspace: Path) -> None:
    (workspace / "site.yaml").write_text("judge: {model: judge}\n")
    words = ("--stage", "rl", "--launcher", "slurm", "--site", "site.yaml", "--set", "nodes=4")
    assert "\npolicy 32 + judge 8 GPUs\n" in virc("train", *words, "--dry-run").out
    assert "\n32 GPUs\n" in virc("train", *words, "--with", "rules", "--dry-run").out


def test_on_ray_the_same_command_is_a_job(workspace: Path) -> None:
    words = ("--launcher", "ray", "--ray-address", "http://head:8265", "--name", "far")
    said = planned("--stage", "rl", "--with", "rules", *words)
    assert said["command"][1:3] == ["-m", "virc.cluster.ray.submit"]
    job = json.loads(said["files"][said["command"][3]])
    assert job["address"] == "http://head:8265"
    entry = shlex.split(job["entrypoint"])
    here = planned("--stage", "rl", "--with", "rules", "--name", "far")
    assert entry[entry.index("--") + 1 :] == here["command"]
    variables = job["runtime_env"]["env_vars"]
    ordered = here["environment"].pop("CUDA_DEVICE_ORDER")  # the nodes have their own order
    assert (ordered, "CUDA_DEVICE_ORDER" in variables) == ("PCI_BUS_ID", False)
    assert {name: value for name, value in here["environment"].items() if value}.items() <= variables.items()
    assert job["runtime_env"]["py_executable"] == here["command"][0]
    assert said["gpus"]["here"] is None  # those of the cluster are not known here
