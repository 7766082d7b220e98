"""What is said of a stage whose rows were checked: each sentence, its count and its hint, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError, DataError, SetupError
from virc.core.events import Event, Reporter
from virc.envs import making
from virc.envs.hardware import Gpu, Machine
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.training import prepare
from virc.training.inputs import Base
from virc.training.preflight.types import Result
from virc.training.prepare import PreparedRun
from virc.training.request import TrainRequest

OWN = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
GRID = 63_504  # pixels that the base sees


def prepared(
    stage: str = "instruct", ignore: tuple[str, ...] = (), settings: tuple[str, ...] = (), kind: str = "", **found: Any
) -> PreparedRun:
    rows = {
        "rows": 40, "dropped": 0, "longest": 900, "mean": 300.4, "total": 12_016, "percentiles": (1, 2, 890),
        "images": 80, "shrunk": 0, "looked_at": 30, "faults": {}, "otherwise": 0, "protocol": OWN,
        "file": Path("/rows/made.json"), "dataset": "made", "entry": {}, "media": Path("/rows"),
    }  # fmt: skip
    system = "critic-v" if stage == "critic" else "tiny"
    request = TrainRequest(system=system, stage=stage, assignments=("max_pixels=63504", *settings))
    resolved = request.resolve()
    assert kind in ("", resolved.kind)
    base = Base(name="tiny", folder=EMBEDDED_FOLDER, model_type="qwen2_vl", root="tiny")
    return PreparedRun(
        resolved=resolved, base=base, result=Result(**{**rows, **found}), environment=making.find("sft", "cpu"),
        python=Path("python"), ignore=ignore,
    )  # fmt: skip


def said(stage: PreparedRun) -> list[tuple[str, str, str | None]]:
    events: list[Event] = []
    prepare.check_rows(stage, Reporter(events.append))
    return [(each.kind, each.text, each.hint) for each in events if each.kind in ("note", "warning")]


COUNTED = ("note", "40 rows, 80 images; tokens a row: mean 300, 99 % at most 890, longest 900", None)
CONVERT = "virc data convert /rows/made.json --to DIR --format sft --max-pixels"


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"ignore": ("answer", "boxes")}, [("note", "columns left out: answer, boxes", None)]),
        ({"settings": ("max_pixels=100000",)},
         [("note", f"--set max_pixels cannot raise the limit of tiny, {GRID:,} pixels", None)]),
        ({"shrunk": 9},
         [("warning", "9 of 80 images have more than the 63,504 pixels that tiny sees: they are shown smaller, and "
           "boxes in pixels, if replies have some, do not fit",
           f"{CONVERT} {GRID} makes rows that fit; --set max_pixels cannot raise the limit of tiny, {GRID:,} pixels")]),
        ({"shrunk": 9, "settings": ("max_pixels=50000",)},
         [("warning", "9 of 80 images have more than max_pixels, 50,000: they are shown smaller, and boxes in pixels, "
           "if replies have some, do not fit", f"--set max_pixels={GRID}, or {CONVERT} 50000")]),
    ],
)  # fmt: skip
def test_what_is_said_before_the_count(changes: dict[str, Any], sentences: list[Any]) -> None:
    found = said(prepared(**changes))
    assert found[: found.index(COUNTED)] == sentences


@pytest.mark.parametrize(("stage", "form", "boxed"), [("instruct", "sft", 0), ("critic", "pairs", 2)])
def test_boxes_of_images_that_are_shown_smaller_are_refused(stage: str, form: str, boxed: int) -> None:
    rows = prepared(stage, shrunk=9, boxed=boxed)
    assert OWN.coordinates == "pixel"
    assert OWN.tools
    if not boxed:
        assert any("if replies have some" in text for _, text, _ in said(rows))
        return
    with pytest.raises(DataError, match="they would be shown smaller, and boxes in pixels would not fit") as refused:
        said(rows)
    assert f"--format {form} " in str(refused.value.hint)


def machine(**changes: Any) -> Machine:
    here = {"cores": 4, "memory_gib": 900.0, "free_gib": 900.0, "disk_gib": 900.0, "gpus": ()}
    return Machine(**{**here, **changes})


def needs(stage: PreparedRun, here: Machine, launcher: str = "local") -> str:
    events: list[Event] = []
    prepare.check_machine(stage, here, launcher, Reporter(events.append))
    (only,) = events
    return only.text


def test_what_a_stage_needs_is_said_and_refused_here_alone() -> None:
    stage = prepared(settings=("steps=7",))
    parts = needs(stage, machine()).split(", ")
    assert [part.split()[-1] for part in parts] == ["memory", "disk", "steps"]
    assert parts[0].endswith("GiB of main memory")
    assert parts[2] == "7 steps"
    assert needs(prepared(settings=("steps=1",)), machine()).endswith(", 1 step")
    with pytest.raises(SetupError, match="of main memory"):
        needs(stage, machine(free_gib=0.1))
    assert needs(stage, machine(free_gib=0.1), "slurm") == needs(stage, machine())
    on_gpu = prepared(settings=("steps=7", "device=cuda"))
    h100 = Gpu("NVIDIA H100 80GB HBM3", 80.0, 80.0, "570")
    a100 = Gpu("NVIDIA A100-SXM4-80GB", 80.0, 80.0, "570")
    assert " a GPU, " in needs(on_gpu, machine(gpus=(h100,)))
    for gpus, number, peak in (((h100,), None, "989 TFLOP/s of one H100"), ((), None, "312 TFLOP/s of one A100"),
                               ((a100, h100), 1, "989 TFLOP/s of one H100"), ((a100, h100), 0, "312 ")):  # fmt: skip
        chosen = () if number is None else (f"gpus=[{number}]",)
        stage = prepared(settings=("steps=7", "device=cuda", *chosen))
        assert peak in needs(stage, machine(gpus=gpus), "ray"), peak


@pytest.mark.parametrize(
    ("trackers", "environment", "netrc", "refused"),
    [
        ("[wandb]", {}, {}, "no WANDB_API_KEY here"),
        ("[wandb]", {"WANDB_API_KEY": "k"}, {}, None),
        ("[wandb]", {"WANDB_MODE": "offline"}, {}, None),
        ("[wandb]", {}, {".netrc": "machine api.wandb.ai login u password p\n"}, None),
        ("[swanlab]", {}, {".swanlab/.netrc": "machine anywhere login u password p\n"}, None),
        ("[tensorboard, wandb]", {}, {}, "no WANDB_API_KEY here"),
    ],
)
def test_a_tracker_needs_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trackers: str, environment: dict[str, str],
    netrc: dict[str, str], refused: str | None,
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.startswith(("WANDB", "SWANLAB"))]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    for name, text in netrc.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    resolved = prepared(settings=(f"trackers={trackers}",)).resolved
    if refused is None:
        prepare.check_trackers(resolved)
        return
    with pytest.raises(ConfigError, match=refused) as error:
        prepare.check_trackers(resolved)
    assert "--set trackers=[]" in str(error.value.hint)
