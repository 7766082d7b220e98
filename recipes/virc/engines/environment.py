"""Engines, one file each: a stage's settings as that engine's keys, files and command, and what they share."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from virc.core.files import DATA
from virc.core.text import plain
from virc.stages.context import Place
from virc.stages.sft import StageConfig

SILENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
"""No part of an engine uses the network, except trackers that the user chose."""


def environment(recipes: Path) -> dict[str, str]:
    """Variables that every engine's process gets; an empty one is taken away."""
    return {
        **SILENT,
        "PYTHONPATH": str(recipes),
        "PYTHONDONTWRITEBYTECODE": "",  # or every start would compile a thousand files again
        "PYTHONUNBUFFERED": "1",
    }


def of_trackers(config: StageConfig, run: Path) -> dict[str, str]:
    """Variables by which trackers write into the run's folder; those that the user has set stay as they are."""
    found = {
        "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},  # it heeds DO_NOT_TRACK only where that is `true`
        "swanlab": {"SWANLAB_LOG_DIR": str(run / "swanlog")},
        "tensorboard": {name: str(run / "tensorboard") for name in ("TENSORBOARD_DIR", "TENSORBOARD_LOGGING_DIR")},
        "trackio": {"TRACKIO_DIR": str(run / "trackio")},
        "wandb": {"WANDB_DIR": str(run)},
    }
    if "MLFLOW_TRACKING_URI" not in os.environ:
        found["mlflow"] |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{(run / 'mlflow.db').absolute()}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str((run / "mlflow").absolute()),  # for pictures, beside the database
        }
    named = {name: value for tracker in config.trackers for name, value in found[tracker].items()}
    return {name: value for name, value in named.items() if name not in os.environ}


def place_before(config: StageConfig, run: str) -> Place:
    """What an attempt would work on, before weights and rows are looked for."""
    data, folder, validation = Path(DATA) / config.data_name(), Path("runs", run), config.validation_name()
    return Place(
        base=Path(config.base or f"the newest run of {config.after}"),
        model_type="qwen2_5_vl",  # that of every published stage
        data=data,
        dataset=data.name,
        media=data.parent,
        validation=Path(DATA) / validation if validation else None,
        reward=folder / "reward.json",
        protocol=folder / "virc_protocol.json",
        output=folder / "checkpoints",
        files=folder / "logs" / "attempt_1",
        python=Path("python"),
        recipes=Path(),
    )


def needs(config: Any, liger: bool) -> dict[str, str]:
    """Packages that settings need in the environment of any engine, each with the setting that can do without."""
    found = {"liger-kernel": "use_liger=false"} if liger else {}
    found |= {"flash-attn": "attention=sdpa"} if config.attention == "fa2" else {}
    return found | dict.fromkeys(config.trackers, "trackers=[]")


def last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("$ ")]
    return plain(lines[-1]) if lines else "no output"


def check_finite(model: Any, step: int) -> None:
    """Raise FloatingPointError if a trained weight is not finite, or so large that its square is not."""
    import torch
    from torch.distributed.tensor import DTensor

    for name, weight in model.named_parameters():
        own = weight.to_local() if isinstance(weight, DTensor) else weight  # of a sharded one, this process's part
        if weight.requires_grad and not torch.isfinite(torch.linalg.vector_norm(own, dtype=torch.float32)):
            raise FloatingPointError(f"the weight {name} is not finite after step {step}")


def refuse_missing_weights(models: Any) -> None:
    """Have `models`, transformers' class of them, end a run whose base lacks weights: they would be drawn at random.

    Transformers 5.6 so reads `qwen3_5_moe` as 5.24 writes it, with its experts one by one.
    """
    load = models.from_pretrained.__func__

    def loaded(cls: type[Any], /, *given: Any, output_loading_info: bool = False, **named: Any) -> Any:
        model, report = load(cls, *given, output_loading_info=True, **named)
        if missing := sorted(report["missing_keys"]):
            known = f"are missing, or have names that transformers {version('transformers')} does not know"
            raise ValueError(f"{len(missing)} weights of the base {known}: {missing[-1]}, ...")
        return (model, report) if output_loading_info else model

    models.from_pretrained = classmethod(loaded)
