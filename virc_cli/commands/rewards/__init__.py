"""List rewards and their terms, and try them on rows."""

from virc_cli.console.options import folder

command = folder(__name__)
