"""Check, convert, draw, show and sample rows."""

from virc_cli.console.options import folder

command = folder(__name__)
