"""What is said of a stage whose rows were checked: each sentence, its count and its hint, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError, DataError, SetupError
from virc.core.events import Event, Reporter
from virc.data.formats.registry import RowsFile
from virc.envs import making
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs.run import Run
from virc.training import packages, row_report
from virc.training.inputs import Base
from virc.training.preflight.types import Result
from virc.training.prepared import Prepared
from virc.training.request import TrainRequest

OWN = read_protocol(EMBEDDED_FOLDER / FILE_NAME)


def prepared(
    stage: str = "instruct", ignore: tuple[str, ...] = (), settings: tuple[str, ...] = (), kind: str = "", **found: Any
) -> Prepared:
    rows = {
        "rows": 40, "dropped": 0, "longest": 900, "mean": 300.4, "total": 12_016, "percentiles": (1, 2, 890),
        "images": 80, "shrunk": 0, "looked_at": 30, "faults": {}, "otherwise": 0, "protocol": OWN,
        "file": Path("/rows/made.json"), "dataset": "made", "entry": {}, "media": Path("/rows"),
    }  # fmt: skip
    system = "critic-v" if stage == "critic" else "tiny"
    request = TrainRequest(system=system, stage=stage, assignments=("max_pixels=63504", *settings), ignore=ignore)
    resolved = request.resolve()
    assert kind in ("", resolved.kind)
    base = Base(name="tiny", folder=EMBEDDED_FOLDER, model_type="qwen2_vl", root="tiny")
    return Prepared(
        resolved=resolved, base=base, checked=Result(**{**rows, **found}), environment=making.find("sft", "cpu"),
        python=Path("python"), recipes=Path(), request=request, run=Run(Path("mine")), folder=Path("new"),
        source=RowsFile(Path("/rows/made.json"), resolved.kind, "made"), validation=None,
    )  # fmt: skip


def said(stage: Prepared) -> list[tuple[str, str, str | None]]:
    events: list[Event] = []
    row_report.check_rows(stage, Reporter(events.append))
    return [(each.kind, each.text, each.hint) for each in events if each.kind in ("note", "warning")]


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


@pytest.mark.parametrize(
    ("trackers", "environment", "netrc", "refused"),
    [
        ("[wandb]", {}, {}, "no WANDB_API_KEY here"),
        ("[wandb]", {"WANDB_API_KEY": "k"}, {}, None),
        ("[wandb]", {"WANDB_MODE": "offline"}, {}, None),
        ("[wandb]", {}, {".netrc": "machine api.wandb.ai login u password p\n"}, None),
        ("[swanlab]", {}, {".swanlab/.netrc": "machine anywhere login u password p\n"}, None),
        ("[tensorboard, wandb]", {}, {}, "no WANDB_API_KEY here"),
        ("[mlflow, trackio]", {}, {}, None),
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
        packages.check_trackers(resolved)
        return
    with pytest.raises(ConfigError, match=refused) as error:
        packages.check_trackers(resolved)
    assert "--set trackers=[]" in str(error.value.hint)


def test_a_tracker_that_the_environment_lacks_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = prepared(settings=("trackers=[trackio]",)).resolved
    environment = making.find("sft", "cpu")
    monkeypatch.setattr(packages, "installed", lambda *given: {})
    with pytest.raises(SetupError, match="needs trackio") as error:
        packages.check_packages(resolved, environment, environment.python)
    assert str(error.value.hint).startswith("virc env create sft --with trackio, --set trackers=[]")
