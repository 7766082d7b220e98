"""Whether the engine's environment has what settings and tools import, and this machine the keys of trackers.

In RL, the engine's interpreter runs the tools, minutes after the start. Missing packages are reported before that.
"""

import ast
import json
import netrc
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from virc.core import entry_points, plugins, processes
from virc.core.errors import ConfigError, SetupError
from virc.core.module_files import needed_files
from virc.core.plan import Step
from virc.core.text import plain
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs.pins import Environment, pinned
from virc.remote import described
from virc.stages.resolve import Resolved
from virc.tools import registry as tools
from virc.training.preflight.types import Request, RlRequest

_BEHIND: Mapping[str, str] = {"virc_extras.stepped": "gymnasium"}
"""Rooms of this package that import a package which not every environment has, when a tool uses them."""
_LACKING = (
    "import json, sys; from importlib.util import find_spec; sys.path[:] = filter(None, sys.path); "
    "print(json.dumps([name for name in sys.argv[1:] if find_spec(name) is None]))"
)


def check_tool_packages(asked: Request, stage: str, environment: Environment, python: Path) -> None:
    """Refuse tools that the engine's interpreter cannot load, or in rollouts cannot carry out."""
    by_module: dict[str, str] = {}
    for name, file in _files(asked):
        for module in needed(file, carried_out=isinstance(asked, RlRequest) and asked.config.rollout == "multi_turn"):
            by_module.setdefault(module, name)
    if not by_module:
        return
    look = Step((str(python), "-c", _LACKING, *by_module), "look for the packages of tools", {"PYTHONPATH": ""})
    lacking: list[str] = json.loads(processes.output(look))  # nothing is imported
    if not lacking:
        return
    module = lacking[0]
    raise SetupError(
        f"{stage} offers the tool {plain(by_module[module], 60)}, which imports {module}, and the environment "
        f"{environment.name} does not have it",
        _install(environment, python, module),
    )


def needed(file: Path, carried_out: bool = True) -> list[str]:
    """The modules that a tool's file imports when loaded, and when `carried_out`; not those that every engine gets."""
    if file.suffix == ".yaml":
        found = described.read_described(file)
        return [*(["mcp"] if found.mcp and carried_out else []), "jsonschema"]
    beside = needed_files(file)
    try:
        trees = [ast.parse(each.read_bytes()) for each in (file, *beside.values()) if each.suffix == ".py"]
    except (OSError, SyntaxError, ValueError):  # loading it says what is wrong with it
        return []
    modules = [name for tree in trees for name in _imported(tree, carried_out)]
    behind = [
        package for room, package in _BEHIND.items() if any(f"{each}.".startswith(f"{room}.") for each in modules)
    ]
    names = (each.partition(".")[0] for each in modules)
    here = {"virc", *entry_points.own_packages(), *plugins.system_packages().values()}  # which engines get
    here |= {name.partition("/")[0].removesuffix(".py") for name in beside}  # as they get copies of these
    return [*dict.fromkeys([*(each for each in names if each not in here), *behind])]


def _files(asked: Request) -> Iterator[tuple[str, Path]]:
    yield from ((Path(each).stem, Path(each)) for each in asked.loads if plugins.is_path(each))
    if not isinstance(asked, RlRequest):
        return
    speakers = asked.sources.values()
    named = [(asked.beside, [*asked.chat_protocol.tools, *asked.tools])]
    named += [(each.beside, [*each.protocol.tools]) for each in speakers]
    for beside, names in named:
        for name in dict.fromkeys(names):
            built_in = getattr(tools.discover().get(name), "__file__", None)
            file = Path(built_in) if built_in else tools.file_of(name, beside)
            if file:
                yield Path(name).stem, file


def _imported(tree: ast.Module, everywhere: bool) -> Iterator[str]:
    """What a module imports, `everywhere` or as it is loaded; not what may be missing, nor what only checkers read."""
    optional = (ast.Try,) if everywhere else (ast.Try, ast.FunctionDef, ast.AsyncFunctionDef)
    left_out = {inner for node in ast.walk(tree) if isinstance(node, optional) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            left_out |= {*ast.walk(node)}
        elif isinstance(node, ast.Import) and node not in left_out:
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and node not in left_out:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _install(environment: Environment, python: Path, module: str) -> str:
    from importlib import metadata

    known = metadata.packages_distributions().get(module)
    package, otherwise = known[0] if known else module, "" if known else ", or the name of the package that has it"
    if environments.registered(environment):
        return f"{python} -m pip install {package}{otherwise}"
    return f"virc env create {environment.engine.name} --device {environment.device} --with {package}{otherwise}"


def check_packages(resolved: Resolved, environment: Environment, python: Path) -> None:
    needed = engines.of_kind(resolved.kind).plan.needs(resolved.config)
    has = installed(environment, python) if needed else {}
    for package, setting in needed.items():
        if package not in has:
            engine = environment.engine.name
            add = f"virc env create {engine} --with {package}, " if package in resolved.config.trackers else ""
            raise SetupError(
                f"{resolved.name} needs {package}, which the environment {environment.name} does not have",
                f"{add}«--set {setting}», or your own environment that has it: virc env use {engine}",
            )


def installed(environment: Environment, python: Path) -> dict[str, str]:
    """Package -> version, asked of the interpreter only if its packages are not those that virc pins."""
    if environments.registered(environment) is None and not environment.extra:
        return pinned(environment)
    found: dict[str, str] = json.loads(processes.output(environments.versions_step(python)))
    return found


_TRACKERS: Mapping[str, tuple[str, str, Collection[str], str, str]] = {
    "wandb": ("WANDB_API_KEY", "WANDB_MODE", ("offline", "disabled", "dryrun"), ".netrc", "api.wandb.ai"),
    "swanlab": ("SWANLAB_API_KEY", "SWANLAB_MODE", ("offline", "local", "disabled"), ".swanlab/.netrc", ""),
}
"""Tracker with an account: the variables with its key and its mode, the modes that need no key, the file where its own
login leaves a key, and the entry there; "": any."""


def check_trackers(resolved: Resolved) -> None:
    """Raises ConfigError: the stage reports to a tracker whose key is not here."""
    for name in filter(_TRACKERS.__contains__, resolved.config.trackers):
        key, mode, without, file, host = _TRACKERS[name]
        hosts: Collection[str] = ()
        with suppress(OSError, netrc.NetrcParseError):
            hosts = netrc.netrc(str(Path.home() / file)).hosts
        has_key = os.environ.get(key) or (host in hosts if host else hosts)
        if not has_key and os.environ.get(mode) not in without:
            sentence = f"{resolved.name} reports to {name} (trackers), and there is no {key} here"
            raise ConfigError(sentence, f"«--set trackers=[]», or {mode}=offline in the environment")
