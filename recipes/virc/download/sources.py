"""Where a dataset comes from, and what is listed there: the hub, or GitHub."""

from collections.abc import Sequence

from virc.download.hub.repository import Listing, Repo
from virc.systems.registry import Dataset


def repo_of(dataset: Dataset) -> Repo:
    return Repo(dataset.hub, "dataset") if dataset.hub else Repo(dataset.github or "", "dataset", "github")


def listed(repo: Repo, revision: str | None = None, paths: Sequence[str] = ()) -> Listing:
    """What a repository holds; of one of GitHub, these paths of it. Raises as both `listing` do."""
    if repo.host == "hub":
        from virc.download.hub.listing import listing

        return listing(repo, revision)
    from virc.download.hub import github

    return github.listing(repo, revision or "HEAD", paths)
