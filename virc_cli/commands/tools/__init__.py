"""`virc tools`: what models may call; one file per subcommand, named as it."""

from virc_cli.console.options import folder

command = folder(__name__, "List tools, check one, and try a call on a picture.")
