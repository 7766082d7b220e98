"""Stages, and what their engines get of them; the golden files hold it, every key and value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from virc.config import dotted as nested
from virc.core.plan import Plan
from virc.data.formats import pairs
from virc.data.formats.sft import info
from virc.engines import registry as engines
from virc.stages import resolve as stages
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.systems.kinds import runs_in

GOLDEN = Path(__file__).parent / "golden"
OVERLAYS: tuple[tuple[str, ...], ...] = ((), ("3b", "lora", "1x24g"), ("fixed", "100k"), ("cpu",))
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    *(("virc", stage, overlays) for stage in ("instruct", "practice") for overlays in OVERLAYS),
    *(("virc", "rl", overlays) for overlays in (
        (), ("3b", "lora", "1x80g"), ("judge-split",), ("multi-turn", "fixed"), ("as-written",), ("cpu",)
    )),
    *(("tiny", "dpo", overlays) for overlays in ((), ("lora",))),
    *(("tiny", "rl", overlays) for overlays in ((), ("multi-turn", "vllm"), ("lora",))),
    *(("vlm-r3", stage, ()) for stage in ("instruct", "rl")),
    *(("virgo", "text", overlays) for overlays in ((), ("72b",))),
    *(("visual-rft", stage, ()) for stage in ("detect", "ground")),
)  # fmt: skip
"""System, stage and overlays of every golden file."""

WORKSPACE = Path("/home/ann/figures")
_CACHE = Path("/home/ann/.cache/virc/envs")


def cases() -> Iterator[Resolved]:
    """Every case that has a golden file."""
    for system, stage, overlays in CASES:
        yield stages.resolve(systems.get(system), stage, overlays)


def place(resolved: Resolved, folder: Path = WORKSPACE) -> Place:
    """Where the case would lie in a workspace; nothing of it is there."""
    run = folder / "runs" / resolved.name
    first = folder / "models" / stages.root_of(resolved)
    before = None if resolved.config.base else folder / "runs" / "virc-instruct" / "checkpoints" / "step-2343"
    adapter = before if resolved.config.lora else None
    return Place(
        base=first if adapter or not before else before,
        adapter=adapter,
        model_type="qwen2_vl" if "fixed" in resolved.overlays else "qwen2_5_vl",
        output=run / "checkpoints",
        files=run / "logs" / "attempt_1",
        python=_CACHE / f"{runs_in(resolved.kind).environment}-{resolved.config.device}" / "bin" / "python",
        recipes=_CACHE / "recipes",
        **_ROWS[resolved.kind](resolved, folder / "data", run),
    )


def _sft(resolved: Resolved, data: Path, run: Path) -> dict[str, Any]:
    rows = data / f"{resolved.config.data_name()}.json"
    return {"data": rows, "dataset": rows.stem, "entry": info(rows.name), "media": rows.parent}


def _rl(resolved: Resolved, data: Path, run: Path) -> dict[str, Any]:
    named = {"protocol": run / "virc_protocol.json", "reward": run / "reward.json"}
    validation = run / "data" / "validation.parquet" if resolved.config.validation else None
    rows = {"data": run / "data" / "train.parquet", "validation": validation}
    return rows | named | {"media": (data / resolved.config.data_name()).parent}


def _dpo(resolved: Resolved, data: Path, run: Path) -> dict[str, Any]:
    rows = data / f"{resolved.config.data_name()}.jsonl"
    return {"data": rows, "dataset": rows.stem, "entry": pairs.info(rows.name), "media": rows.parent}


_ROWS = {"sft": _sft, "dpo": _dpo, "rl": _rl}


def plan(resolved: Resolved, folder: Path = WORKSPACE) -> Plan:
    """What the engine gets of the case."""
    engine = engines.of_kind(resolved.kind).plan
    planned: Plan = engine.plan(resolved.config, place(resolved, folder), resolved.published, resolved.origins)
    return planned


def engine_keys(planned: Plan) -> dict[str, Any]:
    """The engine's keys and values; nested ones by dotted names."""
    return {".".join(path): value for path, value in nested.leaves(yaml.safe_load(planned.files[settings(planned)]))}


def settings(planned: Plan) -> str:
    """The file with the engine's keys."""
    return next(path for path in planned.files if path.endswith("engine.yaml"))


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
