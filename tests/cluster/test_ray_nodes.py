"""Which nodes of a Ray cluster a run may have; Ray itself is in the engine's environment alone."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that looks at nodes, and a cluster to set: a list of (alive, resources)."""
    ray, scheduling = ModuleType("ray"), ModuleType("ray.util.scheduling_strategies")
    cluster: list[tuple[bool, dict[str, float]]] = []

    def listed() -> list[dict[str, Any]]:
        return [
            {"Alive": alive, "Resources": resources, "NodeID": n, "NodeManagerAddress": f"10.0.0.{n}"}
            for n, (alive, resources) in enumerate(cluster)
        ]

    fields: dict[str, Any] = {
        "nodes": listed,
        "exceptions": SimpleNamespace(GetTimeoutError=TimeoutError, RayError=ValueError),
        "init": lambda **_: None, "shutdown": lambda: None,
    }  # fmt: skip
    vars(ray).update(fields)
    scheduling.NodeAffinitySchedulingStrategy = SimpleNamespace  # type: ignore[attr-defined]
    for name, module in (("ray", ray), ("ray.util", ModuleType("ray.util")), (scheduling.__name__, scheduling)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "virc.cluster.ray.nodes", raising=False)
    module = importlib.import_module("virc.cluster.ray.nodes")
    monkeypatch.setattr(module, "JOINING", 0.0)
    monkeypatch.setattr(module, "_LOOK", 0.0)
    yield SimpleNamespace(module=module, cluster=cluster)
    sys.modules.pop("virc.cluster.ray.nodes", None)


def test_too_few_of_them_are_refused_with_both_numbers(nodes: Any) -> None:
    nodes.cluster += [(True, {"GPU": 8}), (True, {"GPU": 4})]
    said = nodes.module.refusal({"nodes": 2, "gpus": 8, "paths": {}, "versions": {}})
    assert said == "the cluster has 1 node with 8 GPUs or more, and the run needs 2"


def looked_at(nodes: Any, found: Mapping[int, Any], patch: pytest.MonkeyPatch) -> None:
    """Two nodes whose looks at themselves end so: with faults, or an error."""
    nodes.cluster += [(True, {"GPU": 1}), (True, {"GPU": 1})]

    def get(place: SimpleNamespace, timeout: float) -> Any:
        assert (place.soft, timeout) == (False, 120.0)
        if isinstance(result := found.get(place.node_id, []), Exception):
            raise result
        return result

    look = SimpleNamespace(options=lambda scheduling_strategy: SimpleNamespace(remote=lambda _: scheduling_strategy))
    patch.setattr(nodes.module.ray, "remote", lambda num_cpus: lambda function: look, raising=False)
    patch.setattr(nodes.module.ray, "get", get, raising=False)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, None),
        ({1: ["has torch missing instead of 2.9", "does not see the data: /d"]},
         "the node 10.0.0.1 has torch missing instead of 2.9; does not see the data: /d"),
        ({0: TimeoutError()}, f"the node 10.0.0.0 starts no process by {sys.executable}: does it see that?"),
        ({1: ValueError("no\n  room")}, "the node 10.0.0.1 starts no process: no room"),
    ],
)  # fmt: skip
def test_every_node_is_looked_at(
    nodes: Any, found: Mapping[int, Any], said: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    looked_at(nodes, found, monkeypatch)
    file = tmp_path / "ray_nodes.json"
    file.write_text(json.dumps({"nodes": 2, "gpus": 1, "paths": {}, "versions": {}}))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.0:6379")
    monkeypatch.setattr(nodes.module.credentials, "load", lambda: None)
    assert nodes.module.main(str(file)) == (said is not None)
    assert capsys.readouterr().err == (f"virc: SetupError: {said}\n" if said else "")


def test_a_node_lacks_paths_and_versions(nodes: Any, tmp_path: Path) -> None:
    paths = {"the run": str(tmp_path), "the data": str(tmp_path / "gone")}
    versions = {"pytest": "0", "msgspec": importlib.metadata.version("msgspec"), "no-such-package": "1"}
    assert nodes.module.faults({"paths": paths, "versions": versions}) == [
        f"does not see the data: {tmp_path}/gone",
        f"has pytest {importlib.metadata.version('pytest')} instead of 0", "has no-such-package missing instead of 1",
    ]  # fmt: skip
