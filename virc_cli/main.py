"""The `virc` command: finds the commands, runs one, turns a failure into a sentence and an exit code."""

import importlib
import io
import os
import pkgutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated

import typer

from virc_cli import commands, output
from virc_cli.options import group
from virc_cli.usage import is_usage_error, translate
from virc_recipes.errors import SetupError, UsageError, VircError

COMPLETION = "_VIRC_COMPLETE"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the console script `virc`.

    Args:
        args: words after the program's name; default: those of this process.
    """
    words = list(sys.argv[1:] if args is None else args)
    _open_streams()
    output.forget()
    name = next((word for word in words if not word.startswith("-")), "")
    found = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    modules = {each: _load(each) for each in ([name] if name in found else found)}
    with _sigterm() as received:
        try:
            return _run(words, modules, received)
        except BrokenPipeError as closed:  # as every Unix tool that SIGPIPE ends: quietly
            _silence_stdout()
            return output.exit_code(closed)
        except Exception as error:  # the one place where any failure becomes a sentence
            return _report(error, words, name, modules.get(name))


def build(modules: dict[str, ModuleType]) -> typer.Typer:
    """The app with these commands; a command's name is its file's name."""
    app = group("Ask a picture, and watch the model look closer.", epilog=_exit_codes())
    app.callback(invoke_without_command=True)(_root)
    for name, module in modules.items():
        if isinstance(module.command, typer.Typer):
            app.add_typer(module.command, name=name)
        else:
            app.command(name)(module.command)
    return app


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{commands.__name__}.{name}")


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        output.line(f"virc {installed('virc')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(output.EXIT_CODES[UsageError][0])


def _exit_codes() -> str:
    listed = "; ".join(f"{code} {meaning}" for code, meaning in output.EXIT_CODES.values())
    return f"Exit codes: 0 done; {listed}. VIRC_DEBUG=1 shows the traceback of an error."


def _run(words: Sequence[str], modules: dict[str, ModuleType], received: list[int]) -> int:
    if COMPLETION in os.environ:
        # Typer renders the help lines of completions with Rich where it is found; None hides it (170 ms).
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        result = build(modules)(words, prog_name="virc", complete_var=COMPLETION, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:  # Typer's own answer to a closed pipe
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    if result == output.EXIT_CODES[output.CancelledError][0]:  # Typer's own answer to KeyboardInterrupt
        raise (
            output.TerminatedError("stopped by SIGTERM") if received else output.CancelledError("interrupted")
        )
    return result if isinstance(result, int) else 0


def _report(error: Exception, words: Sequence[str], name: str, module: ModuleType | None) -> int:
    """Print an error on stderr, and as JSON on stdout where `--json` was asked; return its exit code."""
    if os.environ.get("VIRC_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if is_usage_error(error):
        arguments = words[words.index(name) + 1 :] if name else words
        error = _explained(translate(error), arguments, module)
    failure = _as_virc_error(error)
    try:
        if "--json" in words[: words.index("--") if "--" in words else None]:
            output.emit_failure(f"virc.{name}/1", failure, getattr(module, "FAILURE", {}))
    except OSError:  # stdout itself is what failed
        _silence_stdout()
    output.error(failure)
    return output.exit_code(failure)


def _explained(error: UsageError, arguments: Sequence[str], module: ModuleType | None) -> VircError:
    explain = getattr(module, "explain_usage", None)
    return (explain and explain(arguments, error)) or error


def _as_virc_error(error: Exception) -> VircError:
    match error:
        case VircError():
            return error
        case typer.Abort():
            return output.CancelledError("interrupted")
        case MemoryError():
            return SetupError("out of memory")
        case OSError(strerror=str(reason)):
            return VircError(
                reason[:1].lower() + reason[1:] + (f": {error.filename}" if error.filename else "")
            )
    return VircError(f"internal: {type(error).__name__}: {error}", hint="VIRC_DEBUG=1 virc … shows where")


@contextmanager
def _sigterm() -> Iterator[list[int]]:
    """SIGTERM acts as Ctrl-C, once: a command keeps its partial work, a second signal ends it at once."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_streams() -> None:
    """UTF-8 on stdout whatever the locale; a stream that was closed at the start swallows what is written."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 (open to the end)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
