"""Whether trackers that a stage reports to can be used here: an engine would stop minutes later, where they cannot."""

import netrc
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError
from virc.stages.resolve import Resolved


class _Tracker(msgspec.Struct, frozen=True):
    """A tracker that needs an account: variables with its key and its mode, and where its own login leaves a key."""

    key: str
    mode: str
    without: tuple[str, ...]
    host: str
    file: str


_TRACKERS = {
    "wandb": _Tracker("WANDB_API_KEY", "WANDB_MODE", ("offline", "disabled", "dryrun"), "api.wandb.ai", ".netrc"),
    "swanlab": _Tracker("SWANLAB_API_KEY", "SWANLAB_MODE", ("offline", "local", "disabled"), "", ".swanlab/.netrc"),
}


def check(resolved: Resolved) -> None:
    """Refuse a tracker that has no key here and is not told to do without."""
    for name in resolved.config.trackers:
        tracker = _TRACKERS.get(name)
        if tracker and not _has_key(tracker) and os.environ.get(tracker.mode) not in tracker.without:
            sentence = f"{resolved.name} reports to {name} (trackers), and there is no {tracker.key} here"
            raise ConfigError(sentence, f"--set trackers=[], or {tracker.mode}=offline in the environment")


def _has_key(tracker: _Tracker) -> bool:
    if os.environ.get(tracker.key):
        return True
    with suppress(OSError, netrc.NetrcParseError):
        hosts = netrc.netrc(str(Path.home() / tracker.file)).hosts
        return bool(hosts) if not tracker.host else tracker.host in hosts
    return False
