"""`virc config`: the defaults kept for this user."""

from virc_cli.options import group

command = group("Show or change this user's defaults.")


@command.command("path")
def path() -> None:
    """Print where the config file is."""
