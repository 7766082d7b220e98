"""Deleting what a user made or fetched: only when it was agreed to, and not unseen where runs need it."""

from collections.abc import Sequence

from virc_cli.console import output


def agree(names: Sequence[str], size: int) -> None:
    """Ask whether to delete these, of `size` bytes in all.

    Raises:
        UsageError: there is no terminal.
        VircError: the answer is no.
    """
    from virc.core.errors import UsageError, VircError
    from virc.core.text import sized

    listed = ", ".join(names)
    agreed = output.confirmed(f"delete {listed}, {sized(size)}?")
    if agreed is None:
        raise UsageError(f"no terminal to ask on whether to delete {listed}", "--yes deletes without asking")
    if not agreed:
        raise VircError("nothing was deleted")


def check_unused(name: str, runs: Sequence[str]) -> None:
    """Refuse to delete what runs of these names started from."""
    from virc.core.errors import ConfigError

    if runs:
        raise ConfigError(
            f"{', '.join(runs)} started from {name}",
            "--yes deletes it all the same; a run whose base is gone cannot be resumed",
        )
