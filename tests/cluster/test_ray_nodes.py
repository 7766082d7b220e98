"""Which nodes of a Ray cluster a run may have; Ray itself is in the engine's environment alone."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that looks at nodes, and a cluster to set: a list of (alive, resources)."""
    ray, scheduling = ModuleType("ray"), ModuleType("ray.util.scheduling_strategies")
    cluster: list[tuple[bool, dict[str, float]]] = []

    def listed() -> list[dict[str, Any]]:
        return [{"Alive": alive, "Resources": resources, "NodeID": n} for n, (alive, resources) in enumerate(cluster)]

    ray.nodes = listed  # type: ignore[attr-defined]
    scheduling.NodeAffinitySchedulingStrategy = SimpleNamespace  # type: ignore[attr-defined]
    for name, module in (("ray", ray), ("ray.util", ModuleType("ray.util")), (scheduling.__name__, scheduling)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "virc.cluster.ray.nodes", raising=False)
    module = importlib.import_module("virc.cluster.ray.nodes")
    monkeypatch.setattr(module, "JOINING", 0.0)
    monkeypatch.setattr(module, "_LOOK", 0.0)
    yield SimpleNamespace(module=module, cluster=cluster)
    sys.modules.pop("virc.cluster.ray.nodes", None)


def test_nodes_with_fewer_gpus_or_none_do_not_count(nodes: Any) -> None:
    nodes.cluster += [(True, {"GPU": 8}), (True, {"GPU": 7}), (True, {}), (False, {"GPU": 8}), (True, {"GPU": 9})]
    assert [node["NodeID"] for node in nodes.module.joined(2, 8)] == [0, 4]


def test_too_few_of_them_are_refused_with_both_numbers(nodes: Any) -> None:
    nodes.cluster += [(True, {"GPU": 8}), (True, {"GPU": 4})]
    said = nodes.module.refusal({"nodes": 2, "gpus": 8, "paths": {}, "versions": {}})
    assert said == "the cluster has 1 node with 8 GPUs or more, and the run needs 2"


def test_nodes_without_enough_gpus_do_not_end_the_wait(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes.module, "JOINING", 600.0)
    nodes.cluster += [(True, {"GPU": 8}), (True, {})]
    looks = []

    def sleep(_: float) -> None:
        looks.append(len(nodes.cluster))
        if len(looks) == 3:
            nodes.cluster.append((True, {"GPU": 8}))

    monkeypatch.setattr(nodes.module.time, "sleep", sleep)
    assert [node["NodeID"] for node in nodes.module.joined(2, 8)] == [0, 2]
    assert looks == [2, 2, 2]
