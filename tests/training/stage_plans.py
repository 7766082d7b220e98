"""The published stages, and what LLaMA-Factory gets of them; the golden files hold it, every key and value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from virc_recipes import sft, stages, systems
from virc_recipes.data.layouts.sft import info
from virc_recipes.engines import llamafactory
from virc_recipes.engines.llamafactory import Place
from virc_recipes.plan import Plan
from virc_recipes.stages import Resolved

GOLDEN = Path(__file__).parent / "golden"
OVERLAYS: tuple[tuple[str, ...], ...] = ((), ("3b", "lora", "1x24g"), ("fixed", "100k"), ("cpu",))
WORKSPACE = Path("/home/ann/figures")
_CACHE = Path("/home/ann/.cache/virc/envs")


def cases() -> Iterator[Resolved]:
    """Every case that has a golden file."""
    virc = systems.get("virc")
    for stage in virc.stages:
        for overlays in OVERLAYS:
            yield stages.resolve(virc, stage, overlays)


def place(resolved: Resolved, folder: Path = WORKSPACE) -> Place:
    """Where the case would lie in a workspace; nothing of it is there."""
    data = folder / "data" / f"{sft.data_name(resolved.config)}.json"
    run = folder / "runs" / resolved.name
    first = folder / "models" / stages.root_of(resolved)
    before = None if resolved.config.base else folder / "runs" / "virc-instruct" / "checkpoints" / "step-2343"
    adapter = before if resolved.config.lora else None
    return Place(
        base=first if adapter or not before else before,
        adapter=adapter,
        model_type="qwen2_vl" if "fixed" in resolved.overlays else "qwen2_5_vl",
        data=data,
        dataset=data.stem,
        entry=info(data.name),
        media=data.parent,
        output=run / "checkpoints",
        files=run / "attempt_1",
        python=_CACHE / f"sft-{resolved.config.device}" / "bin" / "python",
        recipes=_CACHE / "recipes",
    )


def plan(resolved: Resolved, folder: Path = WORKSPACE) -> Plan:
    """What the engine gets of the case."""
    return llamafactory.plan(resolved.config, place(resolved, folder), resolved.published, resolved.origins)


def engine_keys(planned: Plan) -> dict[str, Any]:
    """The engine's keys and values."""
    file = next(text for path, text in planned.files.items() if path.endswith(llamafactory.SETTINGS))
    return dict(yaml.safe_load(file))


def name(resolved: Resolved) -> str:
    """What the golden file of a case is called."""
    return "-".join((resolved.name, *resolved.overlays))


def golden() -> dict[Path, str]:
    """Every golden file and what must stand in it."""
    return {GOLDEN / f"{name(resolved)}.yaml": _text(resolved) for resolved in cases()}


def _text(resolved: Resolved) -> str:
    planned = plan(resolved)
    chosen = f" --with {','.join(resolved.overlays)}" if resolved.overlays else ""
    content: dict[str, Any] = {
        "argv": list(planned.step.argv),
        "env": dict(planned.step.env),
        **{Path(file).name: yaml.safe_load(text) for file, text in planned.files.items()},
        "changes": msgspec.to_builtins(planned.changes),
    }
    head = f"# virc train {resolved.system.name} --stage {resolved.stage}{chosen}\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=110)
