"""Install, list and remove the environments of the engines."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import events, output
from virc_cli.console.options import Json, Quiet, Verbose, argument, group, option

command = group(__doc__)

FAILURE: dict[str, object] = {"environments": None}

Engine = Annotated[str, argument("ENGINE", "sft, rl, serve or eval.")]
Device = Annotated[str | None, option("DEVICE", "cpu or cuda; default: cuda where there is a driver.")]


@command.command("create")
def create(
    engine: Engine,
    device: Device = None,
    packages: Annotated[
        list[str] | None, option("PKG", "One more package, for trackers, custom rewards and tools.", "--with")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Install an engine and its pinned dependencies.

    Gigabytes are downloaded; at the end the engine is imported once. Packages of --with are kept:
    later calls install them too, until the environment is removed. -v prints the lines of uv.
    """
    from virc.envs import making

    environment = making.with_packages(making.find(engine, device), packages or ())
    with events.printed(quiet, verbose) as report:
        making.create(environment, report.send)
    output.line(str(environment.folder))


@command.command("ls")
def ls(as_json: Json = False) -> None:
    """Print every environment, installed or not."""
    from virc.envs import making

    rows = making.all_rows()
    lines = []
    for row in rows:
        about = f"about {row['gib']} GiB" if row["state"] == "not made" else row["python"]
        about += f"  with {', '.join(row['with'])}" if row["with"] else ""
        lines.append(f"{row['engine']:<6} {row['device']:<5} {row['state']:<11} {row['what']:<24} {about}")
    output.result(as_json, "virc.env/1", {"environments": rows}, lines)


@command.command("use")
def use(engine: Engine, python: Annotated[Path, argument("PYTHON", "Its interpreter.")], device: Device = None) -> None:
    """Use an existing environment.

    It is checked, and its versions are compared with the tested ones.
    """
    from virc.envs import making

    environment = making.find(engine, device)
    for difference in making.register(environment, python):
        output.warn(f"not the tested version: {difference}")
    output.note(f"{environment.name} now uses {python}")


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
