"""The site file against what a stage needs; `tests/cli/sentences/cluster.yaml` has what is wrong in one."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from support.tables import each_case

from virc.cluster import site as sites
from virc.cluster.site import Site
from virc.cluster.submitting import check_need
from virc.core.errors import SetupError


def _sites(path: Path, text: str) -> Site:
    path.write_text(text, encoding="utf-8")
    return sites.read_site(path, {})


@each_case(
    ("keys", "stage", "needs", "said"),
    [
        ("{}", {}, (60.0, None), None),
        ("gres: gpu:4", {}, (0, None), "gres 'gpu:4' asks for 4 GPUs a node, and the stage needs 8"),
        ("gres: gpu:a100:2", {}, (0, None), "2 GPUs a node"),
        ("gres: 'gpu:h100:4(S:0-1),lscratch:900'", {}, (0, None), "4 GPUs a node"),
        ("gres: gpu:4", {"devices": 4}, (0, None), None),
        ("gres: 'gpu:a100:{devices}'", {}, (0, None), None),
        ("gres: shard:4", {}, (0, None), None),  # how many GPUs that is nobody says
        (
            "gres: gpu:8\njudge: {model: m, gpus: 4}", {"reward": {"judge": {"endpoint": sites.IN_JOB}}}, (0, None),
            "the stage needs 12",
        ),
        ("memory: 32G", {}, (61.2, None), "memory '32G' is less than the 62G that the stage needs a node"),
        ("memory: 1tb", {}, (900, None), None),
        ("memory: 0", {}, (900, None), None),  # all of the node's
        ("time: 1:00:00", {}, (0, 7200.0), "time '1:00:00' is too short: the stage needs at least 2 h 0 min"),
        ("time: UNLIMITED", {}, (0, 1e9), None),
    ],
)  # fmt: skip
def test_a_site_gives_what_the_stage_needs(
    tmp_path: Path, keys: str, stage: dict[str, object], needs: tuple[float, float | None], said: str | None
) -> None:
    given = _sites(tmp_path / "site.yaml", keys)
    with pytest.raises(SetupError) if said else nullcontext() as refused:
        check_need(given, "site.yaml", {"device": "cuda", "devices": 8, "nodes": 1, **stage}, *needs)
    assert said is None or (said in refused.value.message and refused.value.message.startswith("site.yaml: "))
