"""`virc data`: rows in and out; one file per subcommand, named as it."""

from virc_cli.console.options import folder

command = folder(__name__, "Check, convert, draw, show and sample rows.")
