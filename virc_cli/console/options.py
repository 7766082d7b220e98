"""Options that several commands share, so that each reads the same everywhere; the settings of every app."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

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


Page = Annotated[list[str] | None, option("N", "Pages of a PDF, as 2-5; page or frame of a picture's file.")]
At = Annotated[list[str] | None, option("TIME", "Frames of a clip at times as 1:02.5; repeatable.")]
Fps = Annotated[float | None, option("RATE", "Frames a second of a clip. Default: 1, from 4 to 32.")]
Frames = Annotated[int | None, option("N", "So many frames of a clip, from its first to its last.", min=1)]

CoordinatesName = Literal["pixel", "permille"]
"""The unit of boxes."""

ImagesName = Literal["smart", "square_1000"]
"""How input images are resized."""

Model = Annotated[
    str | None,
    option("MODEL", "Short name, folder, hub id, run, RUN@STEP or served name.", autocompletion=completion.models),
]
Endpoint = Annotated[str | None, option("URL", "OpenAI-compatible server; `none`: no server.")]
System = Annotated[str | None, option("SYSTEM", "System that the model belongs to.", autocompletion=completion.systems)]
SystemArgument = Annotated[
    str, argument("SYSTEM", "A system, or the path of its YAML.", autocompletion=completion.systems)
]
Device = Annotated[str | None, option("DEVICE", "cpu, cuda, cuda:N or mps; default: the best found.")]
MaxPixels = Annotated[int | None, option("PIXELS", "Most pixels of an image.", min=1)]
MaxTokens = Annotated[int | None, option("N", "Most tokens of a reply.", min=1)]
Family = Annotated[
    str | None, option("NAME", "Family of a stock model, such as qwen3-vl.", autocompletion=completion.families)
]
ExtraBody = Annotated[str | None, option("JSON", "Further fields of requests to the endpoint.")]
Thinking = Annotated[str | None, option("on|off", "Whether the endpoint's model thinks.")]
Timeout = Annotated[float | None, option("SECONDS", "Longest time for one problem.")]
Protocol = Annotated[str | None, option("FILE", "Chat protocol of the model; `default`: that of virc.")]
Tools = Annotated[list[str] | None, option("+NAME", "Offer this custom tool as well; repeatable.")]
MaxTurns = Annotated[int, option("N", "Most turns of one solution.", min=1, max=1000)]
MaxRequests = Annotated[int | None, option("N", "Most replies of one solution, rejected ones too.", min=1)]
MaxTokensTotal = Annotated[int | None, option("N", "Most tokens of one solution, read and drawn.", min=1)]
Prices = Annotated[str | None, option("FILE", "What a million tokens of each model cost.")]
MaxCost = Annotated[float | None, option("AMOUNT", "Stop once rows cost that much, without judges of answers.", min=0)]
Temperature = Annotated[float | None, option("T", "0: greedy; default: 0, or 1 with several samples.")]
Seed = Annotated[int, option("N", "Random seed.", min=0)]
Pipeline = Annotated[
    str | None, option("FILE|SYSTEM", "Solve by its Python function.", autocompletion=completion.systems)
]
Role = Annotated[list[str] | None, option("NAME=WHO", "A role's server URL or model; repeatable.")]
JudgeEndpoint = Annotated[
    list[str] | None, option("[NAME=]URL", "Server that grades for --strategy; NAME is of reward.judges.")
]
JudgeOfReward = Annotated[list[str] | None, option("[NAME=]URL", "Server of a judge; NAME is of reward.judges.")]
JudgeModel = Annotated[str | None, option("NAME", "Model of the judge; default: the only one.")]
_STRATEGY = "How the answer is found, such as majority:n=8"
_STRATEGY_NAME = "NAME[:K=V,...]"
Strategy = Annotated[
    list[str] | None, option(_STRATEGY_NAME, f"{_STRATEGY}.", "--strategy", autocompletion=completion.strategies)
]
Strategies = Annotated[
    list[str] | None,
    option(_STRATEGY_NAME, f"{_STRATEGY}; repeatable.", "--strategy", autocompletion=completion.strategies),
]
ProblemColumns = Annotated[
    list[str] | None, option("FIELD=NAME", "Column of id, image, question, choices, answer; repeatable.", "--column")
]
Offline = Annotated[bool, flag("--offline", "Fetch no image from the network.")]
TrustRows = Annotated[bool, flag("--trust-rows", "Rows may name any file, and private addresses.")]
Concurrency = Annotated[int | None, option("N", "Rows at a time; default: by the kind of server.", min=1, max=1024)]
Workers = Annotated[int | None, option("N", "Processes; default: one per core.", min=1)]
_RUN = "A run, as `virc runs ls` names it."
RunName = Annotated[str, argument("NAME", _RUN, autocompletion=completion.runs)]
RunNames = Annotated[list[str], argument("NAME...", _RUN, autocompletion=completion.runs)]
Json = Annotated[bool, flag("--json", "Print one JSON object, also on failure.")]
LayoutFile = Annotated[Path | None, option("FILE", "Layout of the rows; virc data layout proposes one.")]
Ignored = Annotated[
    list[str] | None, option("COLUMN", "Leave out a column that nothing reads; repeatable.", "--ignore")
]
IgnoredFiles = Annotated[
    list[str] | None, option("NAME", "Leave out weights, settings or fields that nothing reads.", "--ignore")
]
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
