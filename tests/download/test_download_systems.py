"""What the published systems are called on the hub, by their short names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import model, serving
from hub_server import Hub
from support.called import virc

MODELS = {
    "vlm-r3": ("VLM-R3-7B", "lh-hyr/VLM-R3-7b-rl-v1"),
    "virgo": ("Virgo-72B", "RUC-AIBOX/Virgo-72B"),
    "visual-rft": ("Visual-RFT-LISA-7B", "Zery/Qwen2-VL-7B_visual_rft_lisa_IoU_reward"),
}
DATASETS = {
    "virgo": ("virgo-visual", "RUC-AIBOX/Virgo-Visual-Long-Thought-Dataset"),
    "visual-rft": ("ViRFT_COCO_base65", "laolao77/ViRFT_COCO_base65"),
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {repo: model() for _, repo in MODELS.values()}
    rows = {f"datasets/{repo}": {"train.jsonl": b"{}\n"} for _, repo in DATASETS.values()}
    with serving(monkeypatch, tmp_path, {**repos, **rows}) as made:
        yield made


@pytest.mark.parametrize(
    ("system", "name", "repo", "folder"),
    [
        *((system, name, repo, f"models/{repo.partition('/')[2]}") for system, (name, repo) in MODELS.items()),
        *((system, name, repo, f"data/{name}") for system, (name, repo) in DATASETS.items()),
    ],
)
def test_short_names_stand_for_the_published_repositories(
    system: str, name: str, repo: str, folder: str, server: Hub
) -> None:
    done = virc("download", name, "--system", system, "--dry-run", "--json")
    assert done.code == 0, done.err
    (item,) = done.json["items"]
    assert (item["repo"], item["folder"]) == (repo, str(Path(folder).absolute()))
