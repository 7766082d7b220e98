"""Options that several commands share, so that each reads the same everywhere; the settings of every app."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperGroup

from virc.config.declared import Option, declared
from virc.config.options import EvalOptions, SolveOptions
from virc.core import entry_points
from virc.core.errors import UsageError
from virc_cli.console import completion, output

if TYPE_CHECKING:
    from virc.solving.asking import Graders
    from virc.systems import registry as systems


def group(help_text: str | None, epilog: str | None = None, cls: type[TyperGroup] | None = None) -> typer.Typer:
    """A Typer app without Rich (its import triples the start-up) and without Typer's traceback printer."""
    return typer.Typer(cls=cls, help=help_text, epilog=epilog, rich_markup_mode=None, pretty_exceptions_enable=False)


def default(name: str) -> type[TyperGroup]:
    """A group whose subcommand of that name is meant unless the first word is another's."""

    class Default(TyperGroup):
        default = name

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            if args and args[0] in self.commands and args[0] != name:
                return super().make_context(info_name, args, parent, **extra)
            return self.commands[name].make_context(info_name, args, parent, **extra)

    return Default


def not_loaded() -> None:
    """In the place of a command that the line does not name."""


def folder(package: str, cls: type[TyperGroup] | None = None) -> typer.Typer:
    """The app of a package of commands: every module in it is a subcommand of the same name.

    So are the commands of installed packages whose names begin with the group's and a dot. Its help is the first line
    of the package's docstring.
    """
    prefix = package.rpartition(".")[2] + "."
    own = {each.name for each in pkgutil.iter_modules(sys.modules[package].__path__)}
    of_packages = {
        name: module
        for full, module in entry_points.modules("virc.commands").items()
        if full.startswith(prefix) and (name := full.removeprefix(prefix)) not in own  # nobody's replaces one of ours
    }

    class Folder(cls or TyperGroup):  # type: ignore[misc]
        def resolve_command(self, context: Any, args: list[str]) -> Any:
            self.load(args[:1])
            return super().resolve_command(context, args)

        def load(self, names: Sequence[str]) -> None:
            """Load commands of packages, which help lists without them."""
            for name in (each for each in names if each in of_packages):
                alone = typer.Typer(rich_markup_mode=None, add_completion=False)  # a whole app has options for that
                module = entry_points.import_command(prefix + name, of_packages[name])
                alone.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
                loaded = typer.main.get_command(alone)
                if loaded.callback:
                    loaded.callback = output.data_alone()(loaded.callback)
                self.commands[name] = loaded

    app = group((sys.modules[package].__doc__ or "").partition("\n")[0], cls=Folder)
    for name in sorted({*own, *of_packages}):
        if name in of_packages:
            app.command(name, help=entry_points.command_line(of_packages[name]))(not_loaded)
        else:
            module = importlib.import_module(f"{package}.{name}")
            app.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
    return app


def named_endpoints(given: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """The address of the judge, and those of judges with names: an address has no `=` before its `:`."""
    named = [each.partition("=") for each in given]
    own = [url for url, (name, equals, _) in zip(given, named, strict=True) if not equals or ":" in name]
    others = {name: url for name, equals, url in named if equals and ":" not in name}
    unnamed = others.pop("judge", None)
    return own[-1] if own else unnamed, others


def read_key(context: typer.Context, option: typer.CallbackParam, given: str | None) -> str | None:
    """The key that an option names; warns of one on the command line, which other users can see."""
    return given and next(iter(read_keys(context, option, [given]) or ()), None)


def read_keys(context: typer.Context, option: typer.CallbackParam, given: list[str] | None) -> list[str] | None:
    """The keys that an option names; warns of one on the command line, which other users can see."""
    from virc.core.credentials import key_of

    source = context.get_parameter_source(option.name or "")
    if not given or source is None or source.name != "COMMANDLINE":
        return given
    keys = [key_of(each) for each in given]
    if None in keys:
        hint = "--api-key env:NAME reads a variable, --api-key file:PATH a file"
        output.warn("every user of this machine can see a key on the command line", hint)
    return [key or value for key, value in zip(keys, given, strict=True)]


def refuse(given: Mapping[str, object], sentence: str, hint: str) -> None:
    """Raise UsageError for the first option that has a value; `{}` in the texts is its name."""
    if option := next((name for name, value in given.items() if value), None):
        raise UsageError(sentence.format(option), hint.format(option))


def named_system(name: str | None) -> "systems.System | None":
    from virc.systems import registry

    return registry.get(name) if name else None


def named_roles(pipeline: str | None, given: Sequence[str], refused: Mapping[str, bool]) -> dict[str, str]:
    """The value of each `--role NAME=VALUE`.

    Args:
        refused: option -> whether it is given, of those that a pipeline has no use for.
    """
    if pipeline is None:
        if given:
            raise UsageError("--role belongs to --pipeline", "--pipeline FILE.py")
        return {}
    from virc.solving.solver import pipelines

    pipelines().refuse(refused)
    roles: dict[str, str] = {}
    for each in given:
        name, _, value = each.partition("=")
        if not name or not value:
            raise UsageError(f"--role {each}: it is NAME=URL or NAME=MODEL", "--role eyes=http://localhost:8000/v1")
        if name in roles:
            raise UsageError(f"--role {name} is given twice", "leave one out")
        roles[name] = value
    return roles


def one_strategy(given: list[str] | None) -> str | None:
    if given and len(given) > 1:
        raise UsageError("--strategy is given twice", "leave one out; virc eval compares several")
    return given[0] if given else None


def graders(
    strategy: object, judge: str | None, judge_model: str | None, judges: Mapping[str, str], system: str | None
) -> "Graders":
    """Who may grade for a strategy; nobody where there is none."""
    from virc.solving.asking import Graders

    if not strategy:
        return Graders()
    from virc.scoring.judge import JUDGE_KEY

    return Graders(judge, judge_model, os.environ.get(JUDGE_KEY), judges, system)


def option(metavar: str | None, text: str, *names: str, **settings: Any) -> Any:
    """An option with a value, by the name of its parameter unless others are given; `text` is its line of help."""
    return typer.Option(*names, metavar=metavar, help=text, **settings)


def choice(text: str, *names: str, **settings: Any) -> Any:
    """An option whose type says in the help what its values are."""
    return option(None, text, *names, **settings)


def flag(name: str, text: str, *short: str) -> Any:
    """An option without a value."""
    return typer.Option(name, *short, help=text)


def argument(metavar: str, text: str, show_default: bool = False, **settings: Any) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=show_default, **settings)


_COMPLETED: Mapping[str, Any] = {
    "family": completion.families, "pipeline": completion.systems, "strategy": completion.strategies,
    "system": completion.systems,
}  # fmt: skip


def parameters(kind: Any, **others: Any) -> Iterator[Parameter]:
    """The parameters of a command for the options of a TypedDict, and for others by their types."""
    for name, (python_type, declaration) in declared(kind).items():
        if declaration.help:
            default = None if declaration.many else declaration.default
            shown: Any = Annotated[_console_type(python_type, declaration), _shown(name, declaration)]
            yield Parameter(declaration.name or name, Parameter.KEYWORD_ONLY, default=default, annotation=shown)
    for name, annotation in others.items():
        default = False if bool in get_args(annotation) else None
        yield Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _console_type(python_type: Any, declaration: Option) -> Any:
    """What a parser makes of the words: a number, one of some words, whether a flag is there, or text."""
    if declaration.many:
        return list[str] | None
    members = get_args(python_type) if get_origin(python_type) in (Union, UnionType) else (python_type,)
    lists = (each for each in members if get_origin(each) is Literal and not declaration.value)
    kind: Any = next(lists, None) or next((each for each in (bool, int, float) if each in members), str)
    return kind if declaration.default is not None else kind | None


def _shown(name: str, declaration: Option) -> Any:
    known_as = declaration.name or name
    return option(
        declaration.value or None, declaration.help, f"--{known_as.replace('_', '-')}",
        min=declaration.min, max=declaration.max, autocompletion=_COMPLETED.get(name),
    )  # fmt: skip


def of(name: str) -> Any:
    """A declared option, for a command that has it alone."""
    return _shown(name, {**declared(SolveOptions), **declared(EvalOptions)}[name][1])


Page = Annotated[list[str] | None, of("page")]
Fps = Annotated[float | None, of("fps")]
Frames = Annotated[int | None, of("frames")]

CoordinatesName = Literal["pixel", "permille"]
"""The unit of boxes."""

ImagesName = Literal["smart", "square_1000"]
"""How input images are resized."""

Model = Annotated[
    str | None,
    option("MODEL", "Short name, folder, hub id, run, RUN@STEP or served name.", autocompletion=completion.models),
]
System = Annotated[str | None, of("system")]
SystemArgument = Annotated[
    str, argument("SYSTEM", "A system, or the path of its YAML.", autocompletion=completion.systems)
]
MaxPixels = Annotated[int | None, of("max_pixels")]
Tools = Annotated[list[str] | None, of("tools")]
Seed = Annotated[int, of("seed")]
Role = Annotated[list[str] | None, of("roles")]
JudgeEndpoint = Annotated[
    list[str] | None, option("[NAME=]URL", "Server that grades for --strategy; NAME is of reward.judges.")
]
JudgeOfReward = Annotated[list[str] | None, of("judge_endpoint")]
JudgeModel = Annotated[str | None, of("judge_model")]
ProblemColumns = Annotated[list[str] | None, of("columns")]
TrustRows = Annotated[bool, of("trust_rows")]
Concurrency = Annotated[int | None, of("concurrency")]
Workers = Annotated[int | None, option("N", "Processes; default: one per core.", min=1)]
_RUN = "A run, as `virc runs ls` names it."
RunName = Annotated[str, argument("NAME", _RUN, autocompletion=completion.runs)]
RunNames = Annotated[list[str], argument("NAME...", _RUN, autocompletion=completion.runs)]
Json = Annotated[bool, flag("--json", "Print one JSON object, also on failure.")]
LayoutFile = Annotated[Path | None, option("FILE", "Layout of the rows; virc data layout proposes one.")]
Ignored = Annotated[
    list[str] | None, option("COLUMN", "Leave out a column that nothing reads; repeatable.", "--ignore")
]
IgnoredFiles = Annotated[list[str] | None, of("ignore")]
Quiet = Annotated[bool, flag("--quiet", "Print results and warnings only.", "-q")]
Verbose = Annotated[bool, flag("--verbose", "Print what engines write, too.", "-v")]
With = Annotated[
    list[str] | None,
    option("NAMES", "Overlays of the system, separated by commas.", "--with", autocompletion=completion.overlays),
]
Set = Annotated[list[str] | None, option("KEY=VALUE", "Override one setting; dots reach inside.", "--set")]


def names_of(values: list[str] | None) -> tuple[str, ...]:
    """The names in a repeatable option that also takes several, separated by commas (`--with 3b,lora`)."""
    names = [name.strip() for value in values or () for name in value.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))
