"""What jobs need of their cluster: paths that nodes see, the judge's node, and a queue that answers."""

from pathlib import Path
from typing import Any

import pytest
import slurm_cases

from virc.cluster import jobs, slurm
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site
from virc.core.errors import SetupError
from virc.core.events import Event, Reporter
from virc.runs.run import Run


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("base", "the model"), ("media", "the images"), ("python", "the environment"), (None, None),
    ],
)  # fmt: skip
def test_nodes_must_see_every_path_of_a_run(
    field: str | None, what: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, here = tmp_path / "shared", tmp_path / "here"
    monkeypatch.setattr("sys.executable", str(shared / "bin" / "python"))
    paths = {name: str(shared / name) for name in ("base", "adapter", "data", "media", "recipes")}
    paths |= {"python": str(shared / "env" / "bin" / "python")}
    if field:
        paths[field] = str(here / "env" / "bin" / "python" if field == "python" else here / field)
    site = Site(shared=(str(shared),), cpus=4)
    run = Run((here if field == "workspace" else shared) / "runs" / "toy")
    run.folder.mkdir(parents=True)
    about = slurm_cases.info(site, **{name: path for name, path in paths.items() if name != "workspace"})
    if what is None:
        jobs.write(run, run.folder, about, site, Reporter())
        assert (run.folder / slurm.SCRIPT).exists()
    else:
        with pytest.raises(SetupError, match=f"the nodes do not see {what}: "):
            jobs.write(run, run.folder, about, site, Reporter())


def test_a_job_of_rl_is_written_for_the_nodes_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.processes, "answer", lambda *_: "cpu* 4\n")
    events, run = list[Event](), Run(tmp_path / "runs" / "toy")
    about = slurm_cases.info(Site(), kind="rl", settings=slurm_cases.RL_SETTINGS)
    for name, target in (("slurm", Site()), ("ray", Cluster(address="http://head:8265"))):
        (tmp_path / name).mkdir()
        jobs.write(run, tmp_path / name, about, target, Reporter(events.append))
        assert (tmp_path / name / slurm.LOGS).is_dir()
    assert [event.text.partition(" of ")[0] for event in events] == ["the nodes must see the paths"]
    script = (tmp_path / "slurm" / slurm.SCRIPT).read_text()
    assert "#SBATCH --cpus-per-task=4\n" in script
    assert "VIRC_RAY_HOST=" in script
    assert not (tmp_path / "ray" / slurm.SCRIPT).exists()


@pytest.mark.parametrize(
    ("launcher", "kind", "site", "address", "found"),
    [
        ("slurm", "rl", "s.yaml", None, Site(account="a")), ("slurm", "sft", None, None, Site(qos="of the user")),
        ("ray", "rl", None, "http://head:8265", Cluster(address="http://head:8265")),
    ],
)  # fmt: skip
def test_a_run_is_for_the_cluster_that_was_named(
    launcher: str, kind: str, site: str | None, address: str | None, found: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "slurm.yaml").write_text("qos: of the user\n")
    (tmp_path / "s.yaml").write_text("account: a\n")
    place = Path(site) if site else None
    assert jobs.site_file(place) == str(tmp_path / (site or "slurm.yaml"))
    assert jobs.target(launcher, kind, place, address) == found
