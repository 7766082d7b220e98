"""List, show, check and create systems."""

from virc_cli.console.options import folder

command = folder(__name__)
