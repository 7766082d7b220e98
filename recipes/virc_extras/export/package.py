"""Packages of systems for others' trainers and evaluators: which a system can have, and the files of one."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from string import Template
from typing import Literal, get_args

import msgspec

from virc.backends.checkpoint import folder_grid
from virc.config import dotted
from virc.config import yaml as plain_yaml
from virc.core.errors import UsageError, VircError
from virc.core.files import fresh_folder, write_whole
from virc.core.module_files import needed_files
from virc.data.formats import batch
from virc.data.formats.registry import Writing
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Record, placed_in
from virc.models import chat_protocol
from virc.models.chat_protocol import written
from virc.models.registry import find
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.resize import QWEN2
from virc.rewards import needs
from virc.rewards import registry as rewards
from virc.rewards.context import JUDGE, NO_JUDGE
from virc.stages.resolve import resolve
from virc.systems import registry as systems
from virc.systems import speech, texts
from virc.systems.registry import IN_FOLDER, System
from virc_extras.export.digest import digest_of
from virc_extras.export.environment import SETTINGS, Settings, records

Target = Literal["verifiers", "openenv", "inspect", "trl", "nemo-gym"]
TARGETS: tuple[Target, ...] = get_args(Target)
NEEDS: Mapping[Target, str] = {
    "verifiers": "verifiers>=0.4,<0.5",
    "openenv": "openenv>=0.10,<0.11",
    "inspect": "inspect-ai>=0.3.285",
    "trl": "trl>=1.16,<1.17",
    "nemo-gym": "nemo-gym>=0.7,<0.8",
}
"""What the package of each target is written against."""
_OWN_ROWS: Mapping[Target, str] = {
    "verifiers": " --env.taskset.rows ROWS",
    "openenv": "VIRC_ROWS=ROWS ",
    "inspect": " -T rows=ROWS",
    "trl": '"ROWS"',
    "nemo-gym": "export VIRC_ROWS=ROWS\n",
}
"""What the commands of a package without rows add."""
_RESULTS: Mapping[str, tuple[str, tuple[Target, ...]]] = {
    "inline": ("what its tools say stands inside the model's own turn, which a chat message ends", ("openenv",)),
    "assistant": (
        "what its tools say are messages of the model's own, which inspect_ai and NeMo Gym join to the reply before",
        ("verifiers", "openenv", "trl"),
    ),
}
"""Why a place of what tools say is refused, and the targets that take it."""
_TEMPLATES = Path(__file__).parent / "templates"
_PLACES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "$module/__init__.py": "module.py",
    "tests/test_package.py": "test_package.py",
}
_GYM_PLACES = {
    "$module.yaml": "servers.yaml",
    "resources_servers/$module/app.py": "resources.py",
    "resources_servers/$module/requirements.txt": "requirements.txt",
    "responses_api_agents/$module/app.py": "agent.py",
    "responses_api_agents/$module/requirements.txt": "requirements.txt",
}
"""Files of a package and their templates; the second are what `gym` looks for in the folder that it runs in."""
_ROWS = "rows"
_LOOKED_AT = 20
_RESERVED = {"__init__.py", "__pycache__", SETTINGS, FILE_NAME, IN_FOLDER, _ROWS}
"""Names that a package has for files of its own."""


class Wanted(msgspec.Struct, frozen=True):
    """A package that is to be written.

    Args:
        target: whose package.
        to: new folder of it.
        rows: problems that go into it.
        stage: of RL, whose reward and turns count; None: the first, if any.
        overlays, assignments: of the stage, as `virc train` has them.
        base: the model whose patch grid images are shown on, as `virc train --base` takes it; None: that of the system
            in this package, else the grid of Qwen2.5-VL.
        workspace: folder with `models/` and `runs/`.
    """

    target: Target
    to: Path
    rows: Path | None = None
    stage: str | None = None
    overlays: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    base: str | None = None
    workspace: Path = Path()


def refusals(system: System) -> dict[Target, str | None]:
    return {target: _refusal(system, target) for target in TARGETS}


def write(system: System, wanted: Wanted) -> Settings:
    """Write a package, completely or not at all.

    Raises:
        UsageError: the target cannot have the system, the folder is in use, or there is no such stage of RL.
        ConfigError: the settings of the stage, or the base, cannot be used.
        DataError: a row cannot be read.
    """
    if refusal := _refusal(system, wanted.target):
        others = [f"--to {target}" for target, reason in refusals(system).items() if reason is None]
        raise UsageError(f"{system.name} cannot be exported to {wanted.target}: {refusal}", " or ".join(others) or None)
    stage = wanted.stage or next((name for name, each in system.stages.items() if each.kind == "rl"), None)
    if stage and system.stages.keys() >= {stage} and system.stages[stage].kind != "rl":
        raise UsageError(f"the stage {stage} of {system.name} is not of the kind rl")
    if stage is None and (wanted.overlays or wanted.assignments):
        raise UsageError(f"{system.name} has no stage of the kind rl, whose settings could be set", "write its YAML")
    for assignment in wanted.assignments:
        key, _, value = assignment.partition("=")
        if key.startswith("reward.") and Path(value).is_file():
            hint = "name the file in a YAML of your own, and export that"
            raise UsageError(f"{assignment} names a file, which the package does not hold", hint)
    config = resolve(system, stage, wanted.overlays, assignments=wanted.assignments).config if stage else system
    if config.reward and config.reward.total:  # an error names the user's file, not its copy
        rewards.of(config.reward, system.file.parent)
    base = wanted.base or next((name for name, model in system.models.items() if model.hub is None), None)
    weights = find(base, wanted.workspace, system) if base else None
    protocol = chat_protocol.of_stage(system, weights) if weights else chat_protocol.of_system(system)
    if protocol.schemas and wanted.target != "verifiers":
        raise UsageError("the server makes the calls of this model, and a reply is its text here", "«--to verifiers»")
    with fresh_folder(wanted.to, "choose another folder") as folder:
        name = "_".join(["virc", *re.findall(r"[a-z0-9]+", f"{system.name.lower()} {wanted.target}")])
        inside = folder / name
        inside.mkdir()
        kept = _copied(system, inside) if system.is_own else system
        (inside / FILE_NAME).write_bytes(written(protocol))
        settings = Settings(
            system=IN_FOLDER if system.is_own else system.name, digest=digest_of(kept), stage=stage,
            overlays=wanted.overlays, assignments=wanted.assignments,
            rows=_rows(wanted.rows, system, inside) if wanted.rows else None,
            grid=folder_grid(weights.folder) if weights else QWEN2,
        )  # fmt: skip
        (inside / SETTINGS).write_text(json.dumps(msgspec.to_builtins(settings), indent=1) + "\n")
        words = _words(system, wanted.target, name, settings, protocol.tools)
        for place, file in (_PLACES | (_GYM_PLACES if wanted.target == "nemo-gym" else {})).items():
            template = _TEMPLATES / wanted.target / f"{file}.txt"
            template = template if template.is_file() else _TEMPLATES / f"{file}.txt"
            written_to = folder / Template(place).substitute(words)
            written_to.parent.mkdir(parents=True, exist_ok=True)
            written_to.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        if credited := texts.credited(system.file.parent, json.dumps(msgspec.to_builtins(protocol))):
            with (folder / "README.md").open("a", encoding="utf-8") as readme:
                readme.write("\n".join(["", "## Texts of others", "", *credited, ""]))
    return settings


def without_judge(system: System, settings: Settings, rows: Path | None) -> str | None:
    """The sentence that a reward asks a judge and none is named; None where it asks none, or has one.

    Args:
        rows: problems of the package; rewards may ask a judge on some rows alone.
    """
    reward, _ = settings.rewarding(system)
    if reward is None or reward.total is None:
        return None
    named = {name for name, each in {JUDGE: reward.judge, **reward.judges}.items() if each.endpoint}
    problems = islice(records(rows, system), _LOOKED_AT) if rows else [Record(question="a", answer="a")]
    with suppress(VircError):  # of a column that only the rows of the system have
        lacking = needs.without_judge(problems, rewards.of(reward, system.file.parent), "pixel", judges=named)
        terms = [name for name, why in lacking.why.items() if why.startswith(NO_JUDGE)]
        if terms:
            return f"the reward asks a judge ({', '.join(terms)}), and no endpoint is named: rollouts cannot be scored"
    return None


def _refusal(system: System, target: Target) -> str | None:
    if system.pipeline and not system.stages:
        return "it is a pipeline of several models, not a conversation with one"
    if target != "inspect" and (system.reward is None or system.reward.total is None):
        return "its reward is not public" if system.reward else "it has no reward"
    alone = {"openenv": "OpenEnv", "nemo-gym": "NeMo Gym"}.get(target)
    if alone and system.reward and rewards.of(system.reward, system.file.parent).group:
        return f"its reward compares the rollouts of a problem, and {alone} rewards each alone"
    protocol = speech.worded_by(system, own_words=True) or speech.ours(system)  # its words decide nothing
    reason, takers = _RESULTS.get(protocol.results, ("", TARGETS))
    if target not in takers:
        return reason
    if target == "trl" and not _is_native(protocol):
        return "its grammar is not native tool calls, whose results are all that TRL shows a model"
    return None


def _is_native(protocol: Protocol) -> bool:
    """Whether calls are JSON with a name and arguments between the marks that Qwen's chat templates have for them, and
    results are turns of the user; a system without tools calls none.
    """
    forms = protocol.grammar.calls if protocol.tools else ()
    plain = ("<tool_call>", "</tool_call>", "call")
    return protocol.results == "user" and all((form.open, form.close, form.body) == plain for form in forms)


def _copied(system: System, inside: Path) -> System:
    """A user's system with the files that its YAML names.

    Raises:
        UsageError: one of them is not below the folder of the YAML, or has the name of a file of packages.
    """
    write_whole(inside / IN_FOLDER, _written_out(system).encode())
    for keys, text in systems.relative_paths(plain_yaml.read_mapping(system.file)):
        place = Path(text)
        file = system.file.parent / place
        if not file.is_file():  # a folder of weights stays where it is
            continue
        if ".." in place.parts or not file.resolve().is_relative_to(system.file.parent.resolve()):
            raise UsageError(f"{'.'.join(keys)} names {text}, outside of the system's folder", "copy it there")
        for name, source in {place.name: file, **needed_files(file)}.items():
            new = place.parent / name
            if new.parts[0] in _RESERVED:
                raise UsageError(f"{'.'.join(keys)} names {new}, as a file of the package is called", "rename it")
            (inside / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, inside / new)
    return systems.get(str(inside / IN_FOLDER))


def _rows(rows: Path, system: System, inside: Path) -> str:
    folder = inside / _ROWS
    folder.mkdir()
    batch.write(folder, _ROWS, map(partial(placed_in, folder), records(rows, system)), Writing(PictureStore(folder)))
    return f"{_ROWS}/{_ROWS}.jsonl"


def _words(system: System, target: Target, name: str, settings: Settings, tools: Sequence[str]) -> dict[str, str]:
    """What stands for the names in templates."""
    extras = ["eval", *(["search"] if "search" in tools else [])]
    before = f"export {texts.OWN_WORDS}=1\n" if texts.own_words() else f"virc download texts --system {system.name}\n"
    return {
        "system": system.name,
        "about": system.about or "without a description",
        "module": name,
        "package": name.replace("_", "-"),
        "target": target,
        "virc": f"virc[{','.join(extras)}]~={version('virc')}",
        "needs": NEEDS[target],
        "python": ">=3.13.14,<3.14" if target == "nemo-gym" else ">=3.11",
        "entry": f'\n[project.entry-points.inspect_ai]\n{name} = "{name}"\n' if target == "inspect" else "",
        "digest": settings.digest,
        "before": before if texts.of(system.file.parent) else "",
        "rows": "its own rows" if settings.rows else "rows that you name",
        "own_rows": "" if settings.rows else _OWN_ROWS[target],
    }


def _written_out(system: System) -> str:
    """The YAML of a system with the texts of its authors.

    Raises:
        ConfigError: the file cannot be read any more, or a text is not on this machine.
    """
    text, changed = plain_yaml.read_text(system.file), dict[dotted.Path, str]()
    for keys, value in dotted.leaves(plain_yaml.parse(text, str(system.file))):
        if isinstance(value, str) and (whole := texts.filled(value, system.file.parent)) != value:
            changed[keys] = whole
    return plain_yaml.replaced(text, changed)
