"""What `virc download` brought into a workspace: found, and taken away again."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError
from virc.core.files import DATA, HIDDEN, MODELS, expanded, is_folder, size_of
from virc.core.locks import held
from virc.core.text import did_you_mean, plain
from virc.download.hub import record
from virc.download.hub.file import bytes_on_disk
from virc.download.hub.record import BUSY, PARTS, DownloadRecord, wanted_file
from virc.runs import delete


class Downloaded(msgspec.Struct, frozen=True):
    folder: Path
    record: DownloadRecord

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes it takes; of one that is partly there, those that need not come again."""
        if not self.record.lacking:
            return size_of(self.folder)
        parts = self.folder / HIDDEN / PARTS
        return sum(
            kept.size if kept.mtime_ns or kept.unpacked else bytes_on_disk(parts, wanted_file(name, kept))
            for name, kept in self.record.files.items()
        )


def discover(workspace: Path) -> list[Downloaded]:
    return [
        Downloaded(folder, found)
        for place in (MODELS, DATA)
        if is_folder(workspace / place)
        for folder in sorted((workspace / place).iterdir())
        if not folder.name.startswith(".") and (found := record.read_record(folder))
    ]


def find(name: str, workspace: Path) -> Downloaded:
    known = discover(workspace)
    found = [
        each
        for each in known
        if (repo := each.record.source) and name in (each.name, repo.name, f"datasets/{repo.name}", repo.url)
    ]
    if len(found) > 1:
        raise ConfigError(f"several are called {plain(name, 80)}", f"say {' or '.join(str(e.folder) for e in found)}")
    here = expanded(name)
    if found:
        return found[0]
    if is_folder(here):
        if at_path := record.read_record(here):
            return Downloaded(here.absolute(), at_path)
        raise ConfigError(f"{here} was not made by virc download", "delete it by hand")
    hint = did_you_mean(name, {each.name for each in known}) if known else "virc download ls"
    raise ConfigError(f"nothing that was downloaded is called {plain(name, 80)}", hint)


def check_removable(found: Downloaded) -> None:
    """Check that a folder is ours alone: no link, and empty before anything was fetched into it."""
    if found.folder.is_symlink():
        sentence = f"{found.folder} is a link to {found.folder.readlink()}"
        raise ConfigError(sentence, "delete what it leads to by hand, then the link")
    if not found.record.ours:
        raise ConfigError(f"{found.folder} held files before virc download fetched some into it", "delete it by hand")


def remove(found: Downloaded) -> None:
    """Take a folder away, at once or not at all; not while a download into it runs."""
    busy = ConfigError(f"a download into {found.folder} is running", "wait for it, or stop it")
    with held(found.folder / HIDDEN / BUSY, busy):
        delete.take_away(found.folder)


def sweep(workspace: Path) -> None:
    for place in (MODELS, DATA):
        delete.sweep(workspace / place)


def used_by(found: Downloaded, workspace: Path) -> Iterator[str]:
    return (run.name for run in delete.begun_in(found.folder, workspace))
