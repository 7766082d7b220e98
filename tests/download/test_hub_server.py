"""The hub of the tests is a fair stand-in: the installed client of the real hub works with it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, Repo, git_id, hub
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

MODEL, DATASET, GATED, PRIVATE = "LeonMiao/ViRC-3B", "LeonMiao/CRUX", "some/gated", "some/private"
WEIGHTS = bytes(range(256)) * 12_000
CONFIG = b'{"model_type": "qwen2_5_vl"}'
MEMBER, STRANGER = "hf_member", "hf_stranger"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    large = tmp_path / "images.tar.lz4"
    large.write_bytes(WEIGHTS[:5000])
    repos = {
        MODEL: Repo({"config.json": CONFIG, "sub/model.safetensors": WEIGHTS}, {"v 1/x": {"config.json": b"{}"}}),
        f"datasets/{DATASET}": Repo({"images.tar.lz4": large, "dataset_info.json": b"{}"}),
        GATED: Repo({"config.json": CONFIG}, gated=True, members=[MEMBER]),
        PRIVATE: Repo({"config.json": CONFIG, "model.safetensors": WEIGHTS}, private=True, members=[MEMBER]),
    }
    with hub(repos) as running:
        running.tokens.add(STRANGER)
        yield running


def test_a_listing_tells_sizes_and_hashes(server: Hub) -> None:
    info = HfApi(endpoint=server.url, token=False).model_info(MODEL, files_metadata=True)
    assert info.sha == server.commit(MODEL)
    files = {file.rfilename: file for file in info.siblings or ()}
    assert files["config.json"].blob_id == git_id(CONFIG)
    assert (files["config.json"].size, files["config.json"].lfs) == (len(CONFIG), None)
    weights = files["sub/model.safetensors"]
    assert weights.lfs is not None
    assert (weights.size, weights.lfs.sha256) == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())


@pytest.mark.parametrize("token", [False, MEMBER])
def test_files_of_both_sizes_are_downloaded(server: Hub, tmp_path: Path, token: bool | str) -> None:
    for name, content in (("config.json", CONFIG), ("sub/model.safetensors", WEIGHTS)):
        path = hf_hub_download(MODEL, name, endpoint=server.url, token=token, local_dir=tmp_path / "to")
        assert Path(path).read_bytes() == content
    assert server.asked("storage")
    assert all("authorization" not in request.headers for request in server.asked("storage"))
    assert all(("authorization" in request.headers) is bool(token) for request in server.asked("resolve"))


def test_a_whole_snapshot_of_a_branch(server: Hub, tmp_path: Path) -> None:
    folder = snapshot_download(
        DATASET, repo_type="dataset", endpoint=server.url, token=False, local_dir=tmp_path / "to"
    )
    assert Path(folder, "images.tar.lz4").read_bytes() == WEIGHTS[:5000]
    other = hf_hub_download(
        MODEL, "config.json", revision="v 1/x", endpoint=server.url, token=False, cache_dir=tmp_path / "cache"
    )
    assert Path(other).read_bytes() == b"{}"


def test_refusals_are_those_of_the_real_hub(server: Hub, tmp_path: Path) -> None:
    def load(repo: str, name: str = "config.json", revision: str = "main", token: str | bool = False) -> str:
        return hf_hub_download(
            repo, name, revision=revision, token=token, endpoint=server.url, cache_dir=tmp_path / "cache"
        )

    for token in (False, STRANGER):
        with pytest.raises(GatedRepoError):
            load(GATED, token=token)
        for missing in (PRIVATE, "no/such"):
            with pytest.raises(RepositoryNotFoundError):
                load(missing, token=token)
    with pytest.raises(RevisionNotFoundError):
        load(MODEL, revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        load(MODEL, "none.json")
    with pytest.raises(HfHubHTTPError) as refused:
        load(MODEL, token="hf_wrong")
    assert refused.value.response.status_code == 401
    assert Path(load(GATED, token=MEMBER)).read_bytes() == CONFIG
    assert Path(load(PRIVATE, "model.safetensors", token=MEMBER)).read_bytes() == WEIGHTS
