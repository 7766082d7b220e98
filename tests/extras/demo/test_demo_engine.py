"""`virc demo --quick` with the real engines, whole: every stage trains, and the curve has them all."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import workspaces
from support.engine_python import interpreter

from virc.models import registry as models
from virc_extras.demo import plan as demo
from virc_extras.demo.plan import CONTROL, QUICK, STAGES

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

WORDS = ("demo", "--quick", "--problems", "8", "--json")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose folder `demo` holds a demo that nothing interrupted."""
    for engine in demo.ENVIRONMENTS:
        interpreter(engine)
    folder = tmp_path_factory.mktemp("workspace")
    done = workspaces.run(folder, *WORDS)
    assert done.returncode == 0, done.stderr
    (folder / "printed.json").write_text(done.stdout)
    return folder


def weights(folder: Path, name: str) -> dict[str, Any]:
    """A model's tensors, without the head, which is the embedding; ZeRO writes it too."""
    from safetensors.torch import load_file

    found = dict(load_file(models.find(name, folder).folder / "model.safetensors"))
    (embedding,) = (tensor for key, tensor in found.items() if key.endswith("embed_tokens.weight"))
    assert (found.pop("lm_head.weight", embedding) == embedding).all()
    return found


def test_every_stage_changes_the_weights(workspace: Path) -> None:
    folder = workspace / "demo"
    chain = [weights(folder, name) for name in (QUICK.start, *STAGES[1:])]
    for before, after in (*pairwise(chain), (chain[0], weights(folder, CONTROL))):
        assert before.keys() == after.keys()
        same = [(before[name].to(after[name].dtype) == after[name]).all() for name in before]  # merging rounds
        assert not all(same)


def test_the_curve_has_every_stage(workspace: Path) -> None:
    curve = json.loads((workspace / "printed.json").read_bytes())
    assert [stage["name"] for stage in curve["stages"]] == [*STAGES, CONTROL]
    assert {stage[replies]["all"]["of"] for replies in ("greedy", "sampled") for stage in curve["stages"]} == {8}
    assert [stage["blank"] is not None for stage in curve["stages"]] == [False, True, True, True, False]
    assert {gain["stage"] for gain in curve["gains"]} == set(STAGES[1:])
    assert all(step["seconds"] > 0 for step in curve["steps"])
    greedy = json.loads((workspace / "demo" / "evals" / "greedy" / "summary.json").read_bytes())
    assert {model["protocol"] for model in greedy["models"]} == {"trained"}
    sampled = json.loads((workspace / "demo" / "evals" / "sampled" / "summary.json").read_bytes())
    assert {model["settings"]["temperature"] for model in greedy["models"]} == {0}
    assert {model["settings"]["temperature"] for model in sampled["models"]} == {1}
    assert (workspace / "demo" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (workspace / "demo" / curve["page"]).read_text()


def test_a_second_call_does_nothing_again(workspace: Path) -> None:
    def there() -> Iterator[tuple[Path, int]]:
        return ((file, file.stat().st_mtime_ns) for file in (workspace / "demo").rglob("*") if file.suffix != ".lock")

    before = dict(there())
    done = workspaces.run(workspace, *WORDS)
    assert (done.returncode, done.stdout) == (0, (workspace / "printed.json").read_text())
    assert done.stderr.count("done before") == 17
    changed = {file.name for file, when in there() if before.get(file) != when}
    assert changed <= {"demo", "curve.json", "curve.png"}
