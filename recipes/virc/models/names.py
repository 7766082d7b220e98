"""Whether a new run or model may have a name, so that no name means two models."""

from pathlib import Path

from virc.backends import lora_config
from virc.core.files import MODELS, is_file, is_folder
from virc.models import provenance
from virc.models import registry as models
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.run import Run
from virc.systems.registry import System


def meaning(name: str, workspace: Path, system: System | None = None, source: str | None = None) -> str | None:
    """What a model of that name is already, as a sentence; None where the name is free.

    Args:
        system: one whose models have their names too, be it that it is only a file.
        source: the checkpoint that a new model is made from, `RUN@STEP`: the newest one of a run may have its name.
    """
    if name in models.embedded():
        return f"{name} is a model of this package"
    for family, model in (models.known(name), models.known(name, system)):
        if family and model and (model.hub or model.folder):  # else its weights are still to be made
            return f"{name} is a model of the system {family.name}"
    if judges := models.judges(name):
        return f"{name} is the judge {judges[name].hub or judges[name].folder}"
    return _of_workspace(name, workspace, source)


def _of_workspace(name: str, workspace: Path, source: str | None) -> str | None:
    run, in_models = Run(workspace / runs.FOLDER / name), workspace / MODELS / name
    if is_file(run.folder / "run.json"):
        newest = checkpoints(run)[-1:]
        if not newest or source != f"{name}@{newest[0].step}":
            return f"{name} is a run"
    if is_folder(in_models):
        origin = provenance.read(in_models)
        return f"{MODELS}/{name} is a model already" + (f", merged from {origin.source}" if origin else "")
    model_files = ("config.json", lora_config.SETTINGS)
    return f"./{name} is a model already" if any(is_file(workspace / name / file) for file in model_files) else None
