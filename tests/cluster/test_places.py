"""What jobs need of their cluster: paths that nodes see, the judge's node, and a queue that answers."""

from pathlib import Path
from typing import Any

import pytest
import slurm_cases

from virc.cluster import jobs, judge, slurm, submitting
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site
from virc.cluster.submitting import check_site
from virc.core.errors import ConfigError, EngineError, SetupError, UsageError
from virc.core.events import Event, Reporter
from virc.core.files import write_json
from virc.runs.run import Run


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("base", "the model"), ("adapter", "the adapter"), ("data", "the data"), ("media", "the images"),
        ("recipes", "virc's code"), ("python", "the environment"), ("workspace", "the workspace"), (None, None),
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
        ("local", "sft", None, None, None), ("local", "sft", "s.yaml", None, Site(account="a")),
        ("slurm", "rl", "s.yaml", None, Site(account="a")), ("slurm", "sft", None, None, Site(qos="of the user")),
        ("ray", "rl", None, "http://head:8265", Cluster(address="http://head:8265")),
        ("ray", "sft", None, "http://head:8265", "Ray runs stages of kind rl, and this one is of kind sft"),
        ("ray", "rl", "s.yaml", "http://head:8265", "a site file is for Slurm"),
        ("flux", "rl", None, None, "there is no launcher 'flux'"),
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
    if isinstance(found, str):
        with pytest.raises(UsageError, match=found):
            jobs.target(launcher, kind, place, address)
    else:
        assert jobs.target(launcher, kind, place, address) == found


def test_a_site_file_that_says_something_else_is_named(tmp_path: Path) -> None:
    (file := tmp_path / "s.yaml").write_text("account: a\n")
    about = slurm_cases.info(Site(account="a"), site_file=str(file))
    assert submitting.changed_site(about) is None
    file.write_text("account: b\n")
    assert submitting.changed_site(about) == str(file)
    file.unlink()
    assert submitting.changed_site(about) is None


@pytest.mark.parametrize(("own_node", "host"), [(True, "n3"), (False, "n1")])
def test_a_judge_is_asked_where_it_is_served(own_node: bool, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-3]")
    monkeypatch.setattr(judge.processes, "output", lambda step: "n1\nn2\nn3\n")
    assert judge._host(own_node) == host


@pytest.mark.parametrize(
    ("site", "refused"),
    [
        (Site(time="2:00:00"), True),  # of the default partition, whatever others allow
        (Site(time="0:30:00"), False),
        (Site(partition="long", time="2:00:00"), False),
        (Site(partition="long,short", time="2:00:00"), False),  # Slurm takes the one in which it fits
        (Site(), False),
    ],
)
def test_the_time_of_a_job_is_held_against_its_partition(
    site: Site, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = "short|1:00:00|short*\nlong|2-00:00:00|long\n"
    monkeypatch.setattr("virc.cluster.submitting.processes.answer", lambda *_: printed)
    if refused:
        with pytest.raises(ConfigError, match="above the limit of the partition short, 1:00:00"):
            check_site(site, "f")
    else:
        assert check_site(site, "f") is None


@pytest.mark.parametrize(
    ("submitting_now", "unanswered", "error"),
    [
        (True, "squeue timed out", "may have a job in the queue: squeue timed out"), (False, "squeue timed out", None),
        (True, None, None),
    ],
)  # fmt: skip
def test_a_run_gets_no_second_job_while_slurm_is_silent(
    submitting_now: bool, unanswered: str | None, error: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "runs" / "toy")
    run.folder.mkdir(parents=True)
    write_json(run.folder / "run.json", slurm_cases.info(Site()))
    asked: list[Any] = []
    monkeypatch.setattr(submitting, "check_sbatch", lambda: asked.append("sbatch"))
    monkeypatch.setattr(submitting.queue, "job_of", lambda *_: (None, unanswered))
    if error:
        with pytest.raises(EngineError, match=error):
            submitting.check_free(run, submitting_now)
    else:
        submitting.check_free(run, submitting_now)
    assert asked == ["sbatch"] * submitting_now
