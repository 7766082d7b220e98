"""From the hub or GitHub to a workspace: what is wanted, what of it is there, and the fetching of what is not.

`wanted.resolve_requests` is pure, `look` asks the hub, `fetch` does the work.
"""

import difflib
import fnmatch
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from virc.backends import checkpoint
from virc.core.errors import ConfigError, DataError, SetupError, VircError
from virc.core.events import Reporter
from virc.core.files import HIDDEN, IN_THE_WAY, is_file
from virc.core.text import duration, plain, sized
from virc.data.rows.llamafactory import INFO
from virc.download import data_files
from virc.download.hub import fetching, record
from virc.download.hub.fetching import ordered
from virc.download.hub.file import bytes_on_disk, small_file
from virc.download.hub.folder import Folder, State, standing
from virc.download.hub.meter import Meter
from virc.download.hub.origin import is_offline, silence
from virc.download.hub.record import is_archive
from virc.download.hub.repository import File, Listing
from virc.download.protocol_source import Warn, fetch_chat_protocol
from virc.download.wanted import TEXTS, DownloadRequest
from virc.families import registry as families
from virc.models import registry as models
from virc.reasoning.protocol import FILE_NAME
from virc.unpack.archive.parts import is_packed
from virc.unpack.unpack import unpacking

_MOST_NAMED = 20  # archives that are still packed
_SPARE = 2**30  # bytes of the disk that stay free
_CONFIG, _MAX_CONFIG = "config.json", 2**20  # bytes
_INDEX = "model.safetensors.index.json"
_WEIGHTS = ("*.safetensors", "*.bin")


class WantedFile(msgspec.Struct, frozen=True):
    """A file that is wanted, its state in the folder, and the bytes of it that an earlier run `kept`."""

    file: File
    state: State
    kept: int = 0

    @property
    def missing(self) -> int:
        return self.file.size - self.kept if self.state in ("absent", "old") else 0


class Item(msgspec.Struct, frozen=True):
    """Something wanted, and what of it is there.

    Args:
        size: bytes of all of it; None: not known.
        commit: of its repository; None: not known.
        here: it was found whole without asking the hub.
        listing: of its repository; None if the hub was not asked.
        config: its config.json, if that was fetched to see what type of model it is.
    """

    want: DownloadRequest
    folder: Path
    size: int | None
    commit: str | None = None
    here: bool = False
    listing: Listing | None = None
    parts: tuple[WantedFile, ...] = ()
    config: bytes | None = None

    @property
    def missing(self) -> int:
        if self.want.optional and not self.here:
            return self.size or 0
        return sum(part.missing for part in self.parts)

    @property
    def state(self) -> Literal["present", "partly", "missing"]:
        if self.want.optional and not self.here:
            return "missing"
        if all(part.state == "whole" for part in self.parts):
            return "present"
        return "missing" if all(part.state == "absent" and not part.kept for part in self.parts) else "partly"

    @property
    def is_model(self) -> bool:
        """Whether all of a model of a system is meant; the bases of its stages are for training."""
        return self.want.model is not None and self.want.name != "base" and not self.want.include

    @property
    def archives(self) -> tuple[WantedFile, ...]:
        kind = self.listing.repo.kind if self.listing else "model"
        return tuple(each for each in self.parts if each.state != "whole" and is_archive(each.file.name, kind))


def look(want: DownloadRequest, workspace: Path) -> Item:
    """Find what of a want is there, and what its repository holds."""
    silence()
    if folder_here := _complete_model(want, workspace):
        recorded = record.read_record(folder_here)
        size = sum(path.stat().st_size for path in folder_here.rglob("*") if is_file(path))  # follows the cache's links
        return Item(want, folder_here, size, recorded.commit if recorded else None, here=True)
    if want.optional:
        return Item(want, want.folder, int(want.gib * 2**30) if want.gib else None)
    if want.repo is None:
        raise ConfigError(f"{want.name} is not on this machine, and its system names no place on the hub")
    place = standing(want.folder)
    if not place.is_dir():
        raise ConfigError(f"{place} is not a folder", IN_THE_WAY)
    offline = _listing_offline(want)
    listing = offline or data_files.listed(want.repo, want.revision, want.paths)
    folder = Folder(want.folder, listing)
    parts = []
    for file in ordered(offline.files if offline else _chosen(want, listing), listing):
        state = folder.state(file)
        parts.append(WantedFile(file, state, bytes_on_disk(folder.parts, file) if state in ("absent", "old") else 0))
    return Item(want, want.folder, sum(part.file.size for part in parts), listing.commit, False, listing, tuple(parts))


def check_room(items: Iterable[Item]) -> None:
    """Check that folders are writable, and that each disk has room; nothing is written.

    An archive is assumed to unpack to its own size, since images are compressed already.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    for item in items:
        place = standing(item.folder)
        if item.state != "present" and not _is_writable(place):
            raise SetupError(f"nothing can be written into {place}", "choose another folder with «--to»")
        disk = place.stat().st_dev
        places.setdefault(disk, place)
        unpacked = sum(part.file.size for part in item.archives)
        needed[disk] = needed.get(disk, 0) + item.missing + unpacked
    for disk, count in needed.items():
        free = shutil.disk_usage(places[disk]).free
        if count and count + _SPARE > free:
            raise SetupError(
                f"{places[disk]} has {sized(free)} free; {sized(count)} are needed, and {sized(_SPARE)} stay free",
                "make room, choose another disk with «--to», or less with «--include»",
            )


def with_config(item: Item) -> Item:
    """The item with its config.json, for a model that is not here and of which it is unknown whether it runs here.

    The file is not written yet. If it cannot be fetched, the download itself will say so.
    """
    config = next((part.file for part in item.parts if part.file.name == _CONFIG), None)
    if not config or not item.listing or item.state != "missing" or config.size > _MAX_CONFIG:
        return item
    repo, commit = item.listing.repo, item.listing.commit
    family = families.by_name(repo.id)
    runs_here = set(family.model_types) <= set(families.run_here()) if family else item.want.model is not None
    if repo.kind == "model" and not item.want.judge and not runs_here:
        with suppress(VircError):
            return msgspec.structs.replace(item, config=small_file(repo, commit, config))
    return item


def not_in_process_error(item: Item) -> ConfigError | None:
    """What to say of a model whose config.json names a type that does not run in this process."""
    try:
        kind = msgspec.json.decode(item.config or b"{}", type=dict[str, object]).get("model_type")
    except (ValueError, RecursionError):
        return None
    if not kind or not item.want.repo:
        return None
    return checkpoint.not_in_process_error(item.want.repo.id, kind, relative(item.folder))


def free(items: Sequence[Item]) -> int:
    """Bytes that are free on the disk that the first item comes to; its folder need not be there yet."""
    return shutil.disk_usage(standing(items[0].folder if items else Path.cwd())).free


def fetch(item: Item, meter: Meter, warn: Warn, keep: bool = False, packed: bool = False) -> Path | None:
    """Fetch what is missing, and the chat protocol of a system's model; raises as `fetching.fetch`.

    Args:
        warn: called with what is wrong and does the files no harm, such as a missing chat protocol.
        keep, packed: as in `fetching.fetch`.

    Returns:
        The file of the chat protocol, where it is new.
    """
    if unproven := [part.file.name for part in item.parts if verified_by(part.file) == "size"]:
        warn(f"{plain(', '.join(unproven), 200)}: no hash is listed for it; its size alone is checked", None)
    if item.listing and (refused := item.listing.refused):
        more = f", and {len(refused) - 1} more" if refused[1:] else ""
        warn(f"{plain(refused[0], 200)}{more}: not fetched", None)
    if item.listing and (item.state != "present" or _is_writable(item.folder)):  # it may be shared, all of it there
        files = [part.file for part in item.parts]
        if files:
            fetching.fetch(item.folder, item.listing, files, meter, keep, packed, _asked(item.want))
    if item.listing and item.listing.repo.kind == "dataset" and item.want.name != TEXTS:
        _warn_of_packed(item, warn)
    left_out = item.want.include and FILE_NAME not in item.want.include
    if not item.want.model or left_out or is_file(item.folder / FILE_NAME):
        return None
    return fetch_chat_protocol(item.want.system, item.want.model, item.folder, warn)


def _warn_of_packed(item: Item, warn: Warn) -> None:
    """Name archives that are still packed and were not to stay so: those of other programs, and those in archives."""
    recorded = record.read_record(item.folder)
    kept_packed = {name for name, file in (recorded.files if recorded else {}).items() if file.keep}
    archives = (each for each in item.folder.rglob("*") if is_packed(each.name) and is_file(each))
    names = {each.relative_to(item.folder).as_posix() for each in archives} - kept_packed
    packed = sorted(name for name in names if not name.startswith(f"{HIDDEN}/"))
    if packed:
        commands = dict.fromkeys(unpacking(Path(relative(item.folder / name))) for name in packed[:_MOST_NAMED])
        verb = "is" if len(packed) == 1 else "are"
        warn(f"{plain(', '.join(packed), 100)} {verb} still packed", " && ".join(commands))


def fetch_all(items: Sequence[Item], report: Reporter, keep: bool = False, packed: bool = False) -> None:
    missing, begun = sum(item.missing for item in items), time.monotonic()
    meter = Meter(missing, report)
    with meter.running():
        protocols = [fetch(item, meter, report.warn, keep, packed) for item in items]
    for protocol in filter(None, protocols):
        report.note(f"written: {relative(protocol)}, the chat protocol of the model")
    if missing:
        seconds = time.monotonic() - begun
        rate = f", {sized(missing / seconds)}/s" if seconds >= 1 else ""
        report.note(f"fetched and verified: {sized(missing)} in {duration(seconds)}{rate}")


def fields(items: Sequence[Item]) -> dict[str, object]:
    return {"items": [_fields(item) for item in items], "free": free(items)}


def verified_by(file: File) -> str:
    return "sha256" if file.sha256 else "git" if file.git else "size"


def relative(folder: Path) -> str:
    """A path as seen from the working folder, where it is inside it."""
    working_folder = Path.cwd()
    return str(folder.relative_to(working_folder)) if folder.is_relative_to(working_folder) else str(folder)


def _fields(item: Item) -> dict[str, object]:
    want = item.want
    return {
        "name": want.name,
        "kind": want.repo.kind if want.repo else "model",
        "repo": want.repo.name if want.repo else None,
        "revision": want.revision,
        "commit": item.commit,
        "folder": str(item.folder.absolute()),
        "bytes": item.size,
        "missing": item.missing,
        "state": item.state,
        "files": [
            {
                "name": part.file.name,
                "bytes": part.file.size,
                "missing": part.missing,
                "state": part.state,
                "verified_by": verified_by(part.file),
            }
            for part in item.parts
        ],
    }


def _complete_model(want: DownloadRequest, workspace: Path) -> Path | None:
    """The folder of a complete copy of the wanted model, in its own folder or another; None: there is none."""
    if want.known_as is None:
        return None
    for name in (str(want.folder), want.known_as):
        try:
            weights = models.find(name, workspace, want.system)
        except ConfigError:
            continue
        if weights.adapter is None and _is_whole(weights.folder):
            return weights.folder
    return None


def _is_whole(folder: Path) -> bool:
    """Whether a model folder has all its weights; an interrupted copy does not, nor one whose files were changed."""
    kept = record.read_record(folder)
    files = kept.files.items() if kept else ()
    has_all = all(is_file(path := folder / name) and path.stat().st_size == each.size for name, each in files)
    if not has_all or (kept and kept.lacking):
        return False
    if not is_file(folder / _INDEX):
        return any(path.is_file() for glob in _WEIGHTS for path in folder.glob(glob))
    try:
        return all(is_file(folder / shard) for shard in checkpoint.weight_files(folder))
    except ConfigError:
        return False


def _listing_offline(want: DownloadRequest) -> Listing | None:
    """If no requests are allowed, the listing recorded when the same was fetched before; None: there is none."""
    recorded = record.read_record(want.folder) if is_offline() else None
    if recorded is None or recorded.source != want.repo or _asked(want) not in recorded.asked:
        return None
    files = tuple(record.wanted_file(*each) for each in recorded.files.items())
    return Listing(recorded.source, recorded.commit, files)


def _asked(want: DownloadRequest) -> str:
    return msgspec.json.encode((want.revision, want.include, want.rows, want.paths)).decode()


def _is_writable(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _chosen(want: DownloadRequest, listing: Listing) -> tuple[File, ...]:
    files = listing.files
    if want.rows:
        rows = {*data_files.files_of(want.rows, data_files.info_of(listing), listing), INFO}
        files = tuple(file for file in files if file.name in rows or is_archive(file.name, listing.repo.kind))
    # The chat protocol of a model is no file of its repository: it is made of a dataset's rows.
    names = [file.name for file in files]
    there = {*names, *(f"{folder}/" for name in names for folder in PurePosixPath(name).parents)}
    globs = [glob for glob in want.include if glob != FILE_NAME or not want.model]
    globs = [escape(glob) if glob in there else glob for glob in globs]  # a name with brackets, and no pattern
    for glob in globs:
        if not any(_matches(file, glob) for file in files):
            bare = glob.translate(str.maketrans("", "", "*?[]"))
            near = difflib.get_close_matches(bare, names, n=3, cutoff=0.3) or names[:3]
            sentence = f"no file of {listing.repo.url} matches {plain(glob, 80)}"
            raise DataError(sentence, f"there {'is' if len(near) == 1 else 'are'} {plain(', '.join(near))}")
    if want.include:
        files = tuple(file for file in files if any(_matches(file, glob) for glob in globs))
    if not files and len(globs) == len(want.include):
        raise DataError(f"{listing.repo.url} holds no files")
    return files


def _matches(file: File, glob: str) -> bool:
    return fnmatch.fnmatchcase(file.name, f"{glob}*" if glob.endswith("/") else glob)
