"""List tools, check one, and try a call on a picture."""

from virc_cli.console.options import folder

command = folder(__name__)
