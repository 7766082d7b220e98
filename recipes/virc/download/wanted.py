"""What a word after `virc download` stands for: a repository of the hub or files of GitHub, and the folder.

`wanted` is the main path: `_requests_of_names` if words are given, else `_requests_of_stages`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import msgspec

from virc.core.errors import ConfigError, UsageError
from virc.core.files import DATA, MODELS, expanded
from virc.core.text import did_you_mean, plain
from virc.download import benchmarks, data_files
from virc.download.hub.repository import Kind, Repo
from virc.models import registry as models
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.names import HUB_ID
from virc.systems.registry import Dataset, Model, System

KINDS = ("dataset", "base", "model", "judge", "texts", "eval")
"""Words that stand for what a system needs; `eval` is followed by benchmarks."""
TEXTS = "texts"
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.ASCII | re.IGNORECASE)
_GITHUB = re.compile(
    rf"(?:https?://)?(?:www\.)?github\.com/(?P<repo>{HUB_ID})/(?:blob|raw)/(?:refs/(?:heads|tags)/)?"
    r"(?P<revision>[^/?#]+)/(?P<file>[^?#]+)",
    re.ASCII | re.IGNORECASE,
)
_RAW = re.compile(rf"\A(?:https?://)?raw\.githubusercontent\.com/({HUB_ID})/", re.ASCII | re.IGNORECASE)
"""What the button `Raw` of a page of GitHub leads to."""
_HUB_ID = re.compile(rf"(datasets/)?({HUB_ID})")


class DownloadConfig(msgspec.Struct, frozen=True):
    """What to download, and where to.

    Args:
        names: as the user types them; none: what the stages of the system need.
        system: its name or file.
        overlays: of the system, which choose other bases and datasets.
        revision: branch, tag or commit; None: the newest of the main branch.
        include: globs of names of files; none: all that is needed.
        to: folder for the only thing that is named.
        workspace: folder whose `models/` and `data/` things come into.
    """

    names: tuple[str, ...] = ()
    system: str = systems.DEFAULT
    overlays: tuple[str, ...] = ()
    revision: str | None = None
    include: tuple[str, ...] = ()
    to: Path | None = None
    workspace: Path = Path()


class DownloadRequest(msgspec.Struct, frozen=True):
    """Something that is to be in a folder.

    Args:
        name: as people call it.
        folder: where it is put.
        repo: where it comes from; None: its weights travel in a package, or are where its system's file says.
        revision, include: as in `DownloadConfig`.
        paths: of GitHub: the files that are meant.
        rows: names of the datasets in it that stages need, archives apart; none: all its files.
        known_as: the name by which `models.find` may find it in another folder; None: it has to be in this one.
        system, model: what its weights are of, for their chat protocol.
        optional: it is only listed, and fetched only if it is named.
        gib: size of its weights, if its system's file says it.
        judge: a server runs it.
    """

    name: str
    folder: Path
    repo: Repo | None
    revision: str | None = None
    include: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    known_as: str | None = None
    system: System | None = None
    model: Model | None = None
    optional: bool = False
    gib: float | None = None
    judge: bool = False


def resolve_requests(config: DownloadConfig) -> tuple[DownloadRequest, ...]:
    """What a call asks for; only the files of systems are read.

    Raises:
        UsageError: `to`, or a name, cannot be meant so; there is no such overlay.
        ConfigError: nothing is called so, or a system has no such thing.
    """
    system = systems.get(config.system)
    asked = list(_requests_of_names(config, system) if config.names else _requests_of_stages(config, system))
    texts_of_systems = [*_texts_with(asked, None if config.names else system)]
    wants = tuple(msgspec.structs.replace(want, folder=config.workspace / want.folder) for want in _merged(asked))
    if config.revision and len(wants) > 1:
        raise UsageError("«--revision» is of one repository", "name the one that is meant")
    if config.to is None:
        return (*texts_of_systems, *wants)
    if len(wants) != 1 or not config.names:
        raise UsageError("«--to» is the folder for one thing", "name what shall come into it")
    if wants[0].name == TEXTS:
        raise UsageError("texts come into the cache, and are read there: «--to» is not for them")
    return (*texts_of_systems, msgspec.structs.replace(wants[0], folder=expanded(config.to), known_as=None))


def _texts_with(found: Iterable[DownloadRequest], needed: System | None) -> Iterator[DownloadRequest]:
    """The texts without which no model can be asked: of the systems of these requests, and of one wholly needed."""
    requested = {each.folder for each in found}
    by_file = {each.file: each for each in (needed, *(each.system for each in found)) if each}
    for system in by_file.values() if not texts.own_words() else ():
        yield from (each for each in _texts(system) if each.folder not in requested)


def _texts(system: System) -> Iterator[DownloadRequest]:
    """The files that texts of the authors of a system are taken from; they come into the user's cache."""
    found = texts.of(system.file.parent)
    for source, paths in found.files().items() if found else ():
        repo_id, commit = source.removeprefix("hf:"), found.sources[source].commit if found else ""
        folder, on_hub = texts.place(source, commit), source.startswith("hf:")
        kind: Kind = "model" if on_hub and not repo_id.startswith("datasets/") else "dataset"
        repo = Repo(repo_id.removeprefix("datasets/"), kind, "hub" if on_hub else "github")
        include, of_github = (paths, ()) if on_hub else ((), paths)
        yield DownloadRequest(TEXTS, folder, repo, commit, include, of_github)


def short_names(first: System | None = None) -> dict[str, tuple[System, Kind | None]]:
    """Short name -> its system (if several have it, `first`), and its kind; None is the kind of a judge."""
    found: dict[str, tuple[System, Kind | None]] = {}
    for system in (*([first] if first else ()), *systems.discover().values()):
        kinds: tuple[tuple[Kind | None, Sequence[str]], ...] = (
            ("model", tuple(system.models)), ("dataset", tuple(system.datasets)), (None, tuple(system.judges)),
        )  # fmt: skip
        for kind, names in kinds:
            for name in names:
                found.setdefault(name, (system, kind))
    return found


def _requests_of_stages(config: DownloadConfig, system: System) -> Iterator[DownloadRequest]:
    """What the stages of a system need, and its judge, which is only listed."""
    yield from _bases(config, system)
    yield from _datasets(config, system)
    if any(stage.kind == "rl" for stage in system.stages.values()):
        for name, judge in islice(system.judges.items(), 1):
            yield msgspec.structs.replace(_weights(config, name, judge), optional=True)


def _requests_of_names(config: DownloadConfig, system: System) -> Iterator[DownloadRequest]:
    after_eval = False
    for name in config.names:
        if after_eval:
            yield _benchmark(config, name)
        elif name == "eval":
            after_eval = True
        else:
            yield from _requests_of_word(config, system, name)
    if config.names[-1] == "eval":
        raise UsageError("eval is followed by benchmarks", f"virc download eval {benchmarks.names()[0]}")


def _requests_of_word(config: DownloadConfig, system: System, name: str) -> list[DownloadRequest]:
    model, judge = islice(system.models.items(), 1), islice(system.judges.items(), 1)
    of_system: dict[str, tuple[Iterator[DownloadRequest], str]] = {
        "dataset": (_datasets(config, system), "its stages need no dataset of the hub"),
        "base": (_bases(config, system), "its stages begin with no model of the hub"),
        "model": ((_model(config, system, *each) for each in model), "it has no models"),
        "judge": ((_weights(config, *each) for each in judge), "it has no judges"),
        TEXTS: (_texts(system), "its texts are in this package"),
    }
    if name not in of_system:
        return [_request_of_name(config, system, name)]
    requests, why = of_system[name]
    if found := list(requests):
        return found
    raise ConfigError(f"the system {system.name} has nothing of that to download: {why}", "virc systems ls")


def _request_of_name(config: DownloadConfig, system: System, name: str) -> DownloadRequest:
    """What a name of something means: a short name, a benchmark, an address of GitHub or the hub, or a hub id."""
    owner, kind = (None, None) if "/" in name else short_names(system).get(name, (None, None))
    if owner and kind == "model":
        return _model(config, owner, name, owner.models[name])
    if owner and kind == "dataset":
        return _dataset(config, name, owner.datasets[name])
    if owner:
        return _weights(config, name, owner.judges[name])
    if name.lower() in benchmarks.names():
        return _benchmark(config, name)
    if match := _GITHUB.match(_RAW.sub(r"github.com/\1/raw/", name, count=1)):
        return _of_github(config, name, match)
    page = _ADDRESS.match(name)  # as a browser gives it
    bare = name[page.end() :].partition("?")[0].partition("#")[0] if page else name
    match = _HUB_ID.fullmatch(bare.rstrip("/").removesuffix("/tree/main"))
    if match is None or ".." in name:
        raise _nothing_called(name)
    account, _, repo = match[2].partition("/")
    # A folder: no account has such a name.
    if account in (MODELS, "datasets") or (account == DATA and repo in _reserved_words()):
        raise _nothing_called(name)
    return _of_hub_id(config, match[2], "dataset" if match[1] else None)


def _of_github(config: DownloadConfig, address: str, match: re.Match[str]) -> DownloadRequest:
    """A file of GitHub by the address of its page."""
    if config.revision:
        raise UsageError("«--revision» is for the hub: an address of GitHub names its commit")
    revision, path = unquote(match["revision"]), unquote(match["file"])
    repo = Repo(match["repo"], "dataset", "github")
    found = _repo(config, repo, repo.id.rpartition("/")[2], address)
    return msgspec.structs.replace(found, name=path.rpartition("/")[2], revision=revision, paths=(path,))


def _reserved_words() -> set[str]:
    return {*KINDS, *short_names(), *benchmarks.names(), "ls", "rm"}


def _nothing_called(name: str) -> ConfigError:
    """The error for a name of nothing; the hint names the repository of a page of the hub, else similar names."""
    inner = re.match(rf"({_HUB_ID.pattern})/(?:tree|blob|resolve)/([^/?#]+)", _ADDRESS.sub("", name, count=1))
    hint = f"virc download {inner[1]} --revision {inner[4]}" if inner else None
    word = name.rstrip("/").rpartition("/")[2] if "/" in name else name
    otherwise = "names are those of virc download --help, or a hub id, OWNER/NAME"
    if "github.com/" in name or "githubusercontent.com/" in name:
        hint = "of GitHub: github.com/OWNER/NAME/blob/COMMIT/PATH, or its raw link"
    return ConfigError(
        f"nothing to download is called {plain(name, 80)!r}",
        plain(hint, 200) if hint else did_you_mean(word, _reserved_words(), otherwise),
    )


def _of_hub_id(config: DownloadConfig, hub_id: str, kind: Kind | None) -> DownloadRequest:
    systems_with_it = [*systems.mentioning(hub_id)]
    for system in systems_with_it if kind is None else ():
        for short, model in system.models.items():
            if model.hub == hub_id:
                return msgspec.structs.replace(_model(config, system, short, model), name=hub_id, known_as=None)
        for short, dataset in system.datasets.items():
            if dataset.hub == hub_id:
                return msgspec.structs.replace(_dataset(config, short, dataset), name=hub_id)
    if kind != "model" and any(hub_id == each.HUB for each in benchmarks.on_hub()):
        return _benchmark(config, hub_id)
    shorts = {each.hub: short for system in systems_with_it for short, each in system.datasets.items()}
    return _repo(config, Repo(hub_id, kind or "model"), shorts.get(hub_id, hub_id.rpartition("/")[2]), hub_id)


def _bases(config: DownloadConfig, system: System) -> Iterator[DownloadRequest]:
    for base in data_files.bases(system, config.overlays):
        family, model = models.known(base, system)
        if family and model:
            yield msgspec.structs.replace(_model(config, family, base, model), name="base")
        elif _HUB_ID.fullmatch(base) and not base.startswith(("datasets/", f"{MODELS}/", "runs/")):
            found = _repo(config, Repo(base), base.rpartition("/")[2], "base")
            yield msgspec.structs.replace(found, known_as=_known_as(config, base))


def _datasets(config: DownloadConfig, system: System) -> Iterator[DownloadRequest]:
    for short, rows in data_files.data_files(system, config.overlays).items():
        yield msgspec.structs.replace(_dataset(config, short, system.datasets[short]), name="dataset", rows=rows)


def _dataset(config: DownloadConfig, short: str, dataset: Dataset) -> DownloadRequest:
    if dataset.github and config.revision:
        raise UsageError(f"«--revision» is not for {short}: its system names the commit of GitHub")
    found = _repo(config, data_files.repo_of(dataset), short)
    return msgspec.structs.replace(found, revision=dataset.revision or found.revision, paths=dataset.files)


def _model(config: DownloadConfig, system: System, short: str, model: Model) -> DownloadRequest:
    return msgspec.structs.replace(_weights(config, short, model), system=system, model=model, judge=False)


def _weights(config: DownloadConfig, name: str, model: Model) -> DownloadRequest:
    folder = Path(MODELS) / Path(model.hub or name).name
    repo = Repo(model.hub) if model.hub else None
    known_as = _known_as(config, name)
    found = DownloadRequest(name, folder, repo, config.revision, config.include, known_as=known_as)
    return msgspec.structs.replace(found, gib=model.gib, judge=True)


def _known_as(config: DownloadConfig, name: str) -> str | None:
    """The name by which a copy of a model in another folder counts; None: such a copy may differ from what is asked."""
    return None if config.revision or config.include else name


def _benchmark(config: DownloadConfig, name: str) -> DownloadRequest:
    benchmark = benchmarks.named(name)
    if benchmark is None:
        raise ConfigError(f"there is no benchmark {plain(name, 80)}", did_you_mean(name, benchmarks.names()))
    if benchmark.HUB is None:
        raise ConfigError(f"the problems of {name} are made here, not downloaded", f"virc eval {name}")
    return _repo(config, Repo(benchmark.HUB, "dataset"), benchmark.NAME)


def _repo(config: DownloadConfig, repo: Repo, folder: str, name: str | None = None) -> DownloadRequest:
    place = Path(MODELS if repo.kind == "model" else DATA) / folder
    return DownloadRequest(name or folder, place, repo, config.revision, config.include)


def _merged(wants: Sequence[DownloadRequest]) -> Iterator[DownloadRequest]:
    """One request for each folder: what two names ask for comes once, and a whole repository includes its parts."""
    chosen: dict[Path, DownloadRequest] = {}
    for want in wants:
        other = chosen.get(want.folder)
        if other and other.paths and other.repo == want.repo and other.revision == want.revision:
            both_paths = tuple(dict.fromkeys((*other.paths, *want.paths)))
            rows = other.rows if want.rows else ()
            chosen[want.folder] = msgspec.structs.replace(other, paths=both_paths, rows=rows)
            continue
        if other and (other.repo != want.repo or other.paths):
            both = f"{other.name} and {want.name} would both come into {want.folder}"
            raise UsageError(both, "fetch one of them with «--to»")
        if other is None or other.optional or (other.rows and not want.rows and not want.optional):
            chosen[want.folder] = want
    yield from chosen.values()
