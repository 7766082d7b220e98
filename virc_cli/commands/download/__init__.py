"""`virc download`: the hub to the workspace. `get.py` is the command itself; the other files are its subcommands."""

from typing import Any

from typer.core import TyperGroup

from virc_cli.commands.download.get import FAILURE as FAILURE
from virc_cli.console.options import folder

_GET = "get"


class _Download(TyperGroup):
    """`virc download NAME...`, unless the first word is a subcommand's."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if args and args[0] in self.commands and args[0] != _GET:
            return super().make_context(info_name, args, parent, **extra)
        return self.commands[_GET].make_context(info_name, args, parent, **extra)


command = folder(__name__, "Download datasets, models, judges and benchmarks.", cls=_Download)
