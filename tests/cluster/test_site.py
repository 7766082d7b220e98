"""The site file: every key, what is wrong in it, and times as people write them."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from virc.cluster import site as sites
from virc.cluster.site import Site
from virc.cluster.submitting import check_need
from virc.core.errors import ConfigError, SetupError


def _sites(path: Path, text: str) -> Site:
    path.write_text(text, encoding="utf-8")
    return sites.read_site(path, {})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("accout: geometry", "unknown key 'accout'", "did you mean 'account'?"),
        (
            "time: tomorrow",
            "time must be a time like 24:00:00, 2-00:00:00 or \"90 minutes\" or null, not 'tomorrow'",
            None,
        ),
        ("time: 5 fortnights", "not '5 fortnights'", None),
        ("time: 1.5", "time must be a time like", "put it in quotes"),
        ("time: 3", "time must be 4 minutes or more, not '3': a job saves in its last quarter", "time: 4 minutes"),
        ("time: 0", "time must be above zero, not '0'", "UNLIMITED sets no limit"),
        ("gres: 'gpu:{devices},lic:{n}'", "gres knows {devices} alone, not {n}", "gres: gpu:{devices}"),
        ("extra: [--nice=10, --nodes=2]", "extra must not have '--nodes=2'", None),
        (
            "time: 3\ncontainer: apptainer",
            "in its last quarter; container has no effect",
            "time: 4 minutes; take container away, or name an image",
        ),
        ("gres: 'gpu:{gpus}'", "gres knows {devices} alone, not {gpus}", "gres: gpu:{devices}"),
        ("memory: a lot", "memory must be an amount of memory like 200G or null, not 'a lot'", None),
        ("container: docker", "container must be `apptainer` or `pyxis`, not 'docker'", None),
        ("container: apptainer", "container has no effect without", "take container away, or name an image"),
        ("container_mounts: /a:/b", "container_mounts has no effect", "take container_mounts away, or name an image"),
        ("container_image: i\ncontainer_mounts: [scratch]", "must be a mount like /data:/data, not 'scratch'", None),
        ("extra: --time=5", "extra must not have '--time=5': the key time is for that", "time: VALUE"),
        ("extra: ['--signal=USR1@60']", "virc sets --signal itself", None),
        ("extra: --gpus=4\ntime: x", "time must be a time", None),
        ("judge: judge-7b", "judge must be lines of the form `key: value` (model, gpus, options, minutes)", None),
        ("judge: {gpus: 4}", "model", None),
        ("judge: {model: m, gpus: 0}", "gpus must be a number of GPUs, 1 or more", None),
        ("judge: {model: m, options: '--port=80'}", "options of judge must not have --port", "take it away"),
        ("judge: {model: m, options: '--quiet --port 80'}", "options of judge must not have --port", "take it away"),
        ('judge: {model: m, options: "--name=\'x"}', "a quote of options of judge is not closed", "close it"),
        ("account: 17", "account must be one line of text or null, not 17", "put it in quotes"),
        (
            "cpus: 0\naccout: a\nqos: [x]",
            "cpus must be a number of cores, 1 or more or null, not 0; unknown key 'accout'; qos",
            None,
        ),
        ('account: "a\\n#SBATCH --uid=0"', "account must be one line of text", None),
        ("cpus: 0", "cpus must be a number of cores", None),
        ("extra: [nice]", "each of extra must be an option of sbatch", None),
        ('extra: ["--nice\\n--uid=0"]', "each of extra must be an option of sbatch", None),
        ("shared: [scratch]", "each of shared must be a folder from the root on", None),
        ("setup: {module: cuda}", "setup must be a list", None),
    ],
)
def test_a_wrong_site_file_is_one_sentence(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        _sites(tmp_path / "slurm.yaml", text)
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert hint is None or refused.value.hint == hint


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        ("--gpus=4", "the key gres is for that", "gres: VALUE"),
        ("--gpus-per-node h100:8", "the key gres is for that", "gres: VALUE"),
        ("-G4", "the key gres is for that", "gres: VALUE"),
        ("-t5", "the key time is for that", "time: VALUE"),
        ("-Ageometry", "the key account is for that", "account: VALUE"),
        ("-Jmine", "virc sets -J itself", "a job has the name of its run: --name NAME"),
        ("-W", "virc submits and follows one job", "take -W away"),
        ("--mem-per-cpu=4G", "the key memory is for that", "memory: VALUE"),
        ("--container-image=/i.sqsh", "the key container_image is for that", "container_image: VALUE"),
        ("--nodes=4", "virc sets --nodes itself", "set nodes for the run: --set nodes=N"),
        ("-N 4", "virc sets -N itself", "set nodes for the run: --set nodes=N"),
        ("-QN4", "virc sets -N itself", "set nodes for the run: --set nodes=N"),
        ("--job-name=mine", "virc sets --job-name itself", "a job has the name of its run: --name NAME"),
        ("--output=x.log", "virc sets --output itself", "the run's folder has the job's log"),
        ("-ex.log", "virc sets -e itself", "the run's folder has the job's log"),
        ("--open-mode=truncate", "virc sets --open-mode itself", "the run's folder has the job's log"),
        ("--sig=USR1@60", "virc sets --signal itself", "take it away: virc learns by it when to save"),
        ("--no-requeue", "virc sets --no-requeue itself", "take it away"),
        ("--nice=10 --ntasks 2", "virc sets --ntasks itself", "take it away"),
        ("--array=1-3", "virc submits and follows one job", "take --array away"),
        ("--wait", "virc submits and follows one job", "take --wait away"),
        ("-M other", "virc follows jobs of this machine's own cluster", "take -M away"),
        ("--test-only", "no job is submitted with it", "take --test-only away"),
        ("--comment='a", "a quote is not closed", "close it"),
    ],
)
def test_an_option_that_virc_sets_is_refused_and_its_key_named(
    tmp_path: Path, option: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        _sites(tmp_path / "slurm.yaml", f"extra:\n  - {json.dumps(option)}\n")
    assert refused.value.message.endswith(f"extra must not have {option!r}: {message}")
    assert refused.value.hint == hint


def test_a_site_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        sites.read_site(tmp_path / "slurm.yaml", {})


def test_a_run_whose_judge_is_of_its_job_needs_one_in_the_site_file() -> None:
    settings = {"reward": {"judge": {"endpoint": sites.IN_JOB}}}
    assert sites.judge_of(settings, Site(judge=sites.JobJudge(model="m"))) == sites.JobJudge(model="m")
    assert sites.judge_of({"reward": {"judge": {"endpoint": None}}}, Site()) is None
    with pytest.raises(ConfigError, match="the job of this run serves its judge, and the site file has none"):
        sites.judge_of(settings, Site())


@pytest.mark.parametrize(
    ("keys", "stage", "needs", "said"),
    [
        ("{}", {}, (60.0, None), None),
        ("gres: gpu:4", {}, (0, None), "gres 'gpu:4' asks for 4 GPUs a node, and the stage needs 8"),
        ("gres: gpu", {}, (0, None), "gres 'gpu' asks for 1 GPU a node"),
        ("gres: gpu:a100:2", {}, (0, None), "2 GPUs a node"),
        ("gres: gpu:a100", {}, (0, None), "1 GPU a node"),
        ("gres: 'gpu:h100:4(S:0-1),lscratch:900'", {}, (0, None), "4 GPUs a node"),
        ("gres: 'gpu:a100:4,gpu:v100:4'", {}, (0, None), None),
        ("gres: gres/gpu:7", {}, (0, None), "7 GPUs a node"),
        ("gres: gpu:4", {"devices": 4}, (0, None), None),
        ("gres: gpu:16", {}, (0, None), None),
        ("gres: 'gpu:a100:{devices}'", {}, (0, None), None),
        ("gres: shard:4", {}, (0, None), None),  # how many GPUs that is nobody says
        ("gres: gpu:4", {"device": "cpu"}, (0, None), None),
        (
            "gres: gpu:8\njudge: {model: m, gpus: 4}", {"reward": {"judge": {"endpoint": sites.IN_JOB}}}, (0, None),
            "the stage needs 12",
        ),
        ("memory: 32G", {}, (61.2, None), "memory '32G' is less than the 62G that the stage needs a node"),
        ("memory: 65536", {}, (64.5, None), "memory '65536' is less"),
        ("memory: 65536", {}, (63.5, None), None),
        ("memory: 1tb", {}, (900, None), None),
        ("memory: 900000K", {}, (1, None), "memory '900000K' is less"),
        ("memory: 0", {}, (900, None), None),  # all of the node's
        ("time: 1:00:00", {}, (0, 7200.0), "time '1:00:00' is too short: the stage needs at least 2 h 0 min"),
        ("time: 4 minutes", {}, (0, 179.0), None),
        ("time: 4 minutes", {}, (0, 181.0), "time '00:04:00' is too short"),
        ("time: UNLIMITED", {}, (0, 1e9), None),
        ("time: 1:00:00", {}, (0, None), None),
    ],
)  # fmt: skip
def test_a_site_gives_what_the_stage_needs(
    tmp_path: Path, keys: str, stage: dict[str, object], needs: tuple[float, float | None], said: str | None
) -> None:
    given = _sites(tmp_path / "site.yaml", keys)
    with pytest.raises(SetupError) if said else nullcontext() as refused:
        check_need(given, "site.yaml", {"device": "cuda", "devices": 8, "nodes": 1, **stage}, *needs)
    assert said is None or (said in refused.value.message and refused.value.message.startswith("site.yaml: "))
