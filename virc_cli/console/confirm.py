"""Questions to a user before something is deleted, fetched or allowed."""

from collections.abc import Sequence

from virc.core.errors import ConfigError, UsageError, VircError
from virc.core.text import sized
from virc_cli.console import output


def agree(question: str, whether: str, hint: str, refused: str, needs_terminal: bool = True) -> None:
    """Ask a question, as a UsageError where nobody can be asked and `needs_terminal`; a VircError where it is denied.

    Args:
        whether: the question within the sentence of the UsageError, whose hint is `hint`.
        refused: the message where it is denied.
    """
    agreed = output.confirmed(question)
    if agreed is None and needs_terminal:
        raise UsageError(f"no terminal to ask on whether {whether}", hint)
    if agreed is False:
        raise VircError(refused)


def agree_to_delete(names: Sequence[str], size: int) -> None:
    listed = ", ".join(names)
    hint = "--yes deletes without asking"
    agree(f"delete {listed}, {sized(size)}?", f"to delete {listed}", hint, "nothing was deleted")


def check_unused(name: str, runs: Sequence[str]) -> None:
    """Refuse to delete what runs of these names started from."""
    if runs:
        raise ConfigError(
            f"{', '.join(runs)} started from {name}",
            "--yes deletes it all the same; a run whose base is gone cannot be resumed",
        )
