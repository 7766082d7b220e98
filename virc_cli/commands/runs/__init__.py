"""List, follow, draw, stop and remove runs of training."""

from virc_cli.console.options import folder

command = folder(__name__)
