"""`virc runs`: what `virc train` leaves in `runs/`; one file per subcommand, named as it."""

from virc_cli.console.options import folder

command = folder(__name__, "List, follow, draw, stop and remove runs of training.")
