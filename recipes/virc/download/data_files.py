"""What the stages of a system need from the hub or GitHub: files of its datasets, and the models they begin with.

A name that stands for nothing there is a DataError, a wrong overlay or setting a UsageError or ConfigError.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from virc.core.errors import DataError
from virc.core.text import did_you_mean, plain
from virc.data.formats.registry import MAX_INFO_BYTES, parsed_info
from virc.data.rows.llamafactory import INFO
from virc.download.hub import github
from virc.download.hub.file import small_file
from virc.download.hub.listing import listing as listing_of_hub
from virc.download.hub.repository import Listing, Repo
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems.registry import Dataset, System


def repo_of(dataset: Dataset) -> Repo:
    return Repo(dataset.hub, "dataset") if dataset.hub else Repo(dataset.github or "", "dataset", "github")


def listed(repo: Repo, revision: str | None = None, paths: Sequence[str] = ()) -> Listing:
    """What a repository holds; of one of GitHub, these paths of it. Raises as both `listing` do."""
    return listing_of_hub(repo, revision) if repo.host == "hub" else github.listing(repo, revision or "HEAD", paths)


def data_files(system: System, overlays: Iterable[str] = ()) -> Mapping[str, tuple[str, ...]]:
    """What the stages, with these overlays, need of the datasets of their system; rows from elsewhere are not in it.

    Returns:
        Of each dataset names of its `dataset_info.json`, or of its files, in the order of the stages.
    """
    found: dict[str, dict[str, None]] = {}
    for resolved in _resolved(system, overlays):
        config = resolved.config
        validation = config.validation_name() if resolved.kind == "rl" else None
        for named in (config.data_name(), validation):
            dataset, _, name = (named or "").partition("/")
            if name and dataset in system.datasets:
                found.setdefault(dataset, {})[name] = None
    return {dataset: tuple(names) for dataset, names in found.items()}


def bases(system: System, overlays: Iterable[str] = ()) -> tuple[str, ...]:
    """The models that stages begin with, with these overlays: hub ids, short names, folders or runs, each once."""
    named = (resolved.config.base for resolved in _resolved(system, overlays))
    return tuple(dict.fromkeys(base for base in named if base is not None))


def files_of(names: Iterable[str], info: bytes, listing: Listing) -> tuple[str, ...]:
    """The files of a repository that hold the rows of these names, each once.

    Args:
        names: as of `data_files`; `.parquet` or `.json` may be left out.
        info: the text of its `dataset_info.json`, as `info_of` gives it.
    """
    entries = parsed_info(info, f"{INFO} of {listing.repo.name}")
    held = {file.name for file in listing.files}
    return tuple(dict.fromkeys(file_of(name, entries, held, listing.repo.name) for name in names))


def info_of(listing: Listing) -> bytes:
    """The text of the `dataset_info.json` of a repository, fetched; `{}` where it has none."""
    file = next((each for each in listing.files if each.name == INFO), None)
    if file is None:
        return b"{}"
    if file.size > MAX_INFO_BYTES:
        raise DataError(f"{INFO} of {listing.repo.id} is over {MAX_INFO_BYTES >> 20} MiB")
    return small_file(listing.repo, listing.commit, file)


def file_of(name: str, entries: Mapping[str, Mapping[str, Any]], held: Collection[str], whose: str) -> str:
    """The file of a dataset that holds the rows of that name, by the entries of its info; `whose` is its repository."""
    if name in entries:
        named = entries[name].get("file_name")
        if not isinstance(named, str) or named not in held:
            raise DataError(f"{INFO} of {whose} names {plain(named, 80)} for {plain(name, 80)}, which is not there")
        return named
    file = next((each for each in (name, f"{name}.parquet", f"{name}.json") if each in held), None)
    if file is None:
        known = {*entries, *(each for each in held if each.endswith((".parquet", ".jsonl")))}
        raise DataError(f"{whose} has no rows {plain(name, 80)!r}", did_you_mean(name, known) if known else None)
    return file


def _resolved(system: System, overlays: Iterable[str]) -> Iterator[Resolved]:
    chosen = tuple(overlays)
    return (stages.resolve(system, stage, chosen) for stage in system.stages)
