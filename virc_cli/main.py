"""The `virc` command: finds the commands, runs one, turns a failure into a sentence and an exit code.

`main` is the console script; `_run` loads the named command and has Typer run it, `_report` prints any error.
"""

import errno
import importlib
import io
import os
import pkgutil
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated, Any, TextIO

import typer

from virc.core import entry_points, interpreter
from virc.core.errors import SetupError, UsageError, VircError, as_virc_error
from virc.core.options import on_command_line, shown_by
from virc.core.text import did_you_mean, plain
from virc_cli import commands, slips
from virc_cli.console import completion, output
from virc_cli.console.interrupts import leave
from virc_cli.console.options import group, not_loaded

# Typer exports only this one class of its parser's errors; its base is what they all share.
_PARSER_ERROR: type[BaseException] = typer.BadParameter.__mro__[1]
OWN_WORDS = "--own-words"
_UNKNOWN = re.compile(r"No such (command|option):? '?(.+?)'?(?:\. |\.?$| \()")
_NEAR = re.compile(r"(?:Did you mean|Possible options:) '?([\w-]+)")

_REFUSALS = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or choose another disk"
) | dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "choose a place that you may write to")
"""Number of an OSError -> the hint for it."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the console script `virc`."""
    with shown_by(on_command_line):
        interpreter.exit_code = _main(args)
    return interpreter.exit_code


def _main(args: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if args is None else args)
    if OWN_WORDS in words[: words.index("--") if "--" in words else None]:
        words.remove(OWN_WORDS)
        os.environ["VIRC_OWN_WORDS"] = "1"
    _open_streams()
    output.forget()
    completes = completion.VARIABLE in os.environ
    name = next((word for word in (completion.typed() if completes else words) if not word.startswith("-")), "")
    with _signals() as received:
        try:
            return _run(words, name)
        except BrokenPipeError as closed:  # as every Unix tool that SIGPIPE ends: quietly
            output.silence(sys.stdout)
            return output.exit_code(closed)
        except (Exception, KeyboardInterrupt) as error:  # the one place where any failure becomes a sentence
            if received:  # a second Ctrl-C need not wait for the sentence
                signal.signal(signal.SIGINT, leave)
            if completes:
                return output.exit_code(error)
            return _report(error, words, name, received[-1] if received else None)


def every_command() -> dict[str, ModuleType]:
    """The modules of all commands, those of installed packages, too, by their names in the order of the help."""
    return {name: _load(name, module) for name, module in _found().items()}


def _found() -> dict[str, str]:
    """The modules of all commands by their names; those of packages have others than ours."""
    own = {each.name: f"{commands.__name__}.{each.name}" for each in pkgutil.iter_modules(commands.__path__)}
    of_packages = {name: module for name, module in entry_points.modules("virc.commands").items() if "." not in name}
    return dict(sorted((of_packages | own).items()))


def _load(name: str, module: str) -> ModuleType:
    is_own = module.startswith(f"{commands.__name__}.")
    return importlib.import_module(module) if is_own else entry_points.import_command(name, module)


def build(modules: Mapping[str, ModuleType | str]) -> typer.Typer:
    """The app with these commands, by their names; of one that is not loaded, the line for the list of commands."""
    codes = "; ".join(f"{code} {meaning}" for code, meaning in output.EXIT_CODES.values())
    epilog = f"Exit codes: 0 done; {codes}. VIRC_DEBUG=1 shows the traceback of an error."
    app = group("Answer questions about images with models that zoom in.", epilog=epilog)
    app.callback(invoke_without_command=True)(_root)
    for name, module in modules.items():
        if isinstance(module, str):
            app.command(name, help=module)(not_loaded)
        elif isinstance(module.command, typer.Typer):
            app.add_typer(module.command, name=name)
        else:
            app.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
    return app


@cache
def _parser(modules: tuple[tuple[str, ModuleType | str], ...]) -> Callable[..., Any]:
    """The parser for these commands; cached for callers of `main` that run many command lines in one process."""
    parser = typer.main.get_command(build(dict(modules)))
    _keep_stdout(parser)
    return parser


def _keep_stdout(command: Any) -> None:
    """Let each command below have stdout for its data alone; help, which the parser prints, comes before it runs."""
    for inner in getattr(command, "commands", {}).values():
        _keep_stdout(inner)
    if not hasattr(command, "commands") and command.callback:
        command.callback = output.data_alone()(command.callback)


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    own_words: Annotated[  # any command takes it, see `_main`
        bool, typer.Option(OWN_WORDS, help="Ask in our own words; for any command.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        output.line(f"virc {installed('virc')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        output.line(context.get_help())


def _run(words: Sequence[str], name: str) -> int:
    """Load the command that is named, or all of them for help and completion, and run the line."""
    found = _found()
    _check_extra_installed(words)
    names = list(found)
    if name in found:
        modules: dict[str, ModuleType | str] = {name: _load(name, found[name])}
    else:
        modules = {each: entry_points.command_line(module) for each, module in found.items()}
        _warn_of_packages(is_help=not name and completion.VARIABLE not in os.environ)
    if completion.VARIABLE in os.environ:
        # Typer renders the help lines of completions with Rich where it is found; None hides it (170 ms).
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        parser = _parser(tuple(modules.items()))
        interpreter.resume_collection()
        result = parser(words, prog_name="virc", complete_var=completion.VARIABLE, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:  # Typer's own answer to a closed pipe
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    except Exception as error:
        if not isinstance(error, _PARSER_ERROR):
            raise
        usage_error = _translated(error)
        explain = getattr(modules.get(name), "explain_usage", None)
        if name in names and words[0] == name:
            better_error = explain and explain(words[1:], usage_error)
        else:
            better_error = slips.explain(words, names)
        raise better_error or usage_error from error
    finally:
        if "--install-completion" in words:
            completion.finish_installation()
    if result == output.EXIT_CODES[output.CancelledError][0]:  # Typer's own answer to Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _check_extra_installed(words: Sequence[str]) -> None:
    for command in dict.fromkeys(".".join(words[:count]) for count in (1, 2)):
        entry_points.check_installed("virc.commands", command, "command")


def _warn_of_packages(is_help: bool) -> None:
    """Name what installed packages would add and help cannot list."""
    if not is_help:
        return
    for package, reason in entry_points.unreadable().items():
        output.warn(f"the entry points of the installed package {package} are left out: {reason}")
    for name, (_, package) in entry_points.entries("virc.commands").items():
        fault = entry_points.refused(name, package)
        if fault or (package not in entry_points.OWN and entry_points.source(f"{commands.__name__}.{name}")):
            why = f": {fault}" if fault else ", as virc has one of that name"
            output.warn(f"the command {plain(name)} of the installed package {package} is left out{why}")


def _translated(error: Exception) -> UsageError:
    """Our error for one of the parser's, with the nearest name or the help command as the hint."""
    context: typer.Context | None = getattr(error, "ctx", None)
    message = str(getattr(error, "format_message", error.__str__)())
    help_hint = f"{context.command_path if context else 'virc'} --help"
    if not (unknown := _UNKNOWN.match(message)):
        return UsageError(message[:1].lower() + message[1:].rstrip("."), help_hint)
    kind, word = unknown.groups()
    near = _NEAR.search(message)
    hint = f"did you mean '{near[1]}'?" if near else help_hint
    if kind == "option" and context:
        parameters = context.command.get_params(context)
        options = [name for parameter in parameters for name in parameter.opts if name.startswith("-")]
        arguments = (each for each in parameters if each.param_type_name == "argument")
        shown = [str(getattr(each, "metavar", None) or each.name).upper() for each in arguments]
        hint = slips.explain_option(word, options, shown, context.command_path) or did_you_mean(word, options, hint)
    return UsageError(f"no such {kind} '{word}'", hint)


def _report(error: Exception | KeyboardInterrupt, words: Sequence[str], name: str, received: int | None) -> int:
    """Print an error on stderr, and as JSON on stdout with `--json`; return its exit code."""
    if os.environ.get("VIRC_DEBUG"):
        import traceback

        output.note("".join(traceback.format_exception(error)), end="")
    failure = _as_virc_error(error, received)
    try:
        sys.stdout.flush()
        if "--json" in words[: words.index("--") if "--" in words else None]:
            path, module = _command(words)
            output.emit_failure(".".join(["virc", *path]) + "/1", failure, getattr(module, "FAILURE", {}))
    except OSError:  # stdout itself is what failed
        output.silence(sys.stdout)
    output.end(failure)
    return output.exit_code(failure)


def _command(words: Sequence[str]) -> tuple[list[str], ModuleType | None]:
    """The names of the command that these words run (`data`, `check`), and its module where it was loaded."""
    path: list[str] = []
    module: ModuleType = commands
    of_packages = entry_points.modules("virc.commands")
    for word in (word for word in words if not word.startswith("-")):
        name = of_packages.get(".".join([*path, word]), f"{module.__name__}.{word}")
        inner = sys.modules.get(name)
        if inner is None or not hasattr(inner, "command"):
            break
        path, module = [*path, word], inner
    return path, module if path else None


def _as_virc_error(error: Exception | KeyboardInterrupt, received: int | None) -> VircError:
    """The error to report for an exception; after a signal, an exception of another library is caused by the signal."""
    if isinstance(error, VircError):
        return error
    if received == signal.SIGTERM:
        return output.TerminatedError("stopped by SIGTERM")
    if received or isinstance(error, KeyboardInterrupt | typer.Abort):
        return output.CancelledError("interrupted")
    match error:
        case MemoryError():
            return SetupError("out of memory")
        case OSError(strerror=str(reason), filename=file):
            hint = _REFUSALS.get(error.errno or 0) if isinstance(error, OSError) else None
            return VircError(reason[:1].lower() + reason[1:] + (f": {file}" if file else ""), hint)
    return as_virc_error(error, "VIRC_DEBUG=1 virc ... shows where")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into a KeyboardInterrupt, so that a command keeps its partial work; yields them.

    A second SIGTERM ends the process at once. If the parent process ignores Ctrl-C, it stays ignored.
    """
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def dropped(lost: "sys.UnraisableHookArgs") -> None:
        # Python drops what a destructor or a callback raises, such as that of an import's lock: send the signal again.
        if received and issubclass(lost.exc_type, KeyboardInterrupt) and os.name == "posix":
            number = received.pop()
            signal.signal(number, stop)
            threading.Timer(0.01, os.kill, [os.getpid(), number]).start()
        else:
            unraisable(lost)

    unraisable, sys.unraisablehook = sys.unraisablehook, dropped
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler in (leave, signal.default_int_handler):
            signal.signal(number, stop)
    try:
        yield received
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _closed_pipe() -> TextIO:
    """File descriptor 1 as a pipe without a reader."""
    reading, writing = os.pipe()
    if writing != 1:
        os.dup2(writing, 1)
        os.close(writing)
    if reading != 1:
        os.close(reading)
    return os.fdopen(1, "w")


def _open_streams() -> None:
    """Write UTF-8 to programs whatever the locale; writing to a closed stdout fails as to a closed pipe."""
    sys.stdout = sys.stdout or _closed_pipe()
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = None if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
