"""`virc env`: environments for the engines, one each, because their versions exclude one another."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import Json, group

command = group("Make, list and remove the environments that engines run in.")

FAILURE: dict[str, object] = {"environments": None}

Engine = Annotated[str, typer.Argument(metavar="ENGINE", help="sft, rl, serve or eval.", show_default=False)]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="cpu or cuda; default: cuda where a driver is loaded.")
]


@command.command("create")
def create(
    engine: Engine,
    device: Device = None,
    packages: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="PKG", help="One more package, for rewards and tools of your own."),
    ] = None,
) -> None:
    """Install an engine and its pinned dependencies.

    Gigabytes are downloaded; at the end the engine is started once.

    Packages of --with are remembered: later calls make the environment with them too, until it is removed.
    """
    from virc.envs import making

    environment = making.with_packages(making.find(engine, device), packages or ())
    if not environment.marker.exists():
        size = environment.engine.gib[environment.device]
        output.note(
            f"{environment.engine.what} for {environment.device}: about {size} GiB in {environment.folder}"
        )
        making.create(environment, output.note)
    output.line(str(environment.folder))


@command.command("ls")
def ls(as_json: Json = False) -> None:
    """Print every environment, made or not."""
    from virc.envs import making

    rows = making.all_rows()
    if as_json:
        output.emit({"schema": "virc.env/1", "environments": rows, "error": None})
        return
    for row in rows:
        about = f"about {row['gib']} GiB" if row["state"] == "not made" else row["python"]
        about += f"  with {', '.join(row['with'])}" if row["with"] else ""
        output.line(f"{row['engine']:<6} {row['device']:<5} {row['state']:<11} {row['what']:<24} {about}")


@command.command("use")
def use(
    engine: Engine,
    python: Annotated[Path, typer.Argument(metavar="PYTHON", help="Its interpreter.", show_default=False)],
    device: Device = None,
) -> None:
    """Use an existing environment.

    It is checked, and its versions are compared with the tested ones.
    """
    from virc.envs import making

    environment = making.find(engine, device)
    for difference in making.register(environment, python):
        output.warn(f"not the tested version: {difference}")
    output.note(f"{environment.name} is now {python}")


@command.command("remove")
def remove(engine: Engine, device: Device = None) -> None:
    """Delete an environment; your own is only unregistered."""
    from virc.envs import making

    for path in making.remove(making.find(engine, device)):
        output.note(f"removed {path}")


@command.command("path")
def path(engine: Engine, device: Device = None) -> None:
    """Print the interpreter of an environment."""
    from virc.envs import making

    output.line(str(making.ready(making.find(engine, device))))
