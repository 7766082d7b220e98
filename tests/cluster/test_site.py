"""The site file: every key, what is wrong in it, and times as people write them."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.tables import each_case

from virc.cluster import site as sites
from virc.cluster.site import Site
from virc.cluster.submitting import check_need
from virc.core.errors import ConfigError, SetupError


def _sites(path: Path, text: str) -> Site:
    path.write_text(text, encoding="utf-8")
    return sites.read_site(path, {})


@each_case(
    ("text", "message", "hint"),
    [
        ("accout: geometry", "unknown key 'accout'", "did you mean 'account'?"),
        (
            "time: tomorrow",
            "time must be a time like 24:00:00, 2-00:00:00 or \"90 minutes\" or null, not 'tomorrow'",
            None,
        ),
        ("time: 3", "time must be 4 minutes or more, not '3': a job saves in its last quarter", "time: 4 minutes"),
        ("gres: 'gpu:{devices},lic:{n}'", "gres knows {devices} alone, not {n}", "gres: gpu:{devices}"),
        ("memory: a lot", "memory must be an amount of memory like 200G or null, not 'a lot'", None),
        ("container: docker", "container must be `apptainer` or `pyxis`, not 'docker'", None),
        ("extra: --time=5", "extra must not have '--time=5': the key time is for that", "time: VALUE"),
        ("judge: judge-7b", "judge must be lines of the form `key: value` (model, gpus, options, minutes)", None),
        ("judge: {model: m, options: '--port=80'}", "options of judge must not have --port", "take it away"),
        ("account: 17", "account must be one line of text or null, not 17", "put it in quotes"),
        (
            "cpus: 0\naccout: a\nqos: [x]",
            "cpus must be a number of cores, 1 or more or null, not 0; unknown key 'accout'; qos",
            None,
        ),
        ('account: "a\\n#SBATCH --uid=0"', "account must be one line of text", None),
        ('extra: ["--nice\\n--uid=0"]', "each of extra must be an option of sbatch", None),
        ("shared: [scratch]", "each of shared must be a folder from the root on", None),
    ],
)
def test_a_wrong_site_file_is_one_sentence(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        _sites(tmp_path / "slurm.yaml", text)
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert hint is None or refused.value.hint == hint


@each_case(
    ("option", "message", "hint"),
    [
        ("--gpus=4", "the key gres is for that", "gres: VALUE"),
        ("-G4", "the key gres is for that", "gres: VALUE"),
        ("-Ageometry", "the key account is for that", "account: VALUE"),
        ("-QN4", "virc sets -N itself", "set nodes for the run: --set nodes=N"),
        ("--job-name=mine", "virc sets --job-name itself", "a job has the name of its run: --name NAME"),
        ("--open-mode=truncate", "virc sets --open-mode itself", "the run's folder has the job's log"),
        ("--sig=USR1@60", "virc sets --signal itself", "take it away: virc learns by it when to save"),
        ("--array=1-3", "virc submits and follows one job", "take --array away"),
        ("-M other", "virc follows jobs of this machine's own cluster", "take -M away"),
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


@each_case(
    ("keys", "stage", "needs", "said"),
    [
        ("{}", {}, (60.0, None), None),
        ("gres: gpu:4", {}, (0, None), "gres 'gpu:4' asks for 4 GPUs a node, and the stage needs 8"),
        ("gres: gpu:a100:2", {}, (0, None), "2 GPUs a node"),
        ("gres: 'gpu:h100:4(S:0-1),lscratch:900'", {}, (0, None), "4 GPUs a node"),
        ("gres: gpu:4", {"devices": 4}, (0, None), None),
        ("gres: 'gpu:a100:{devices}'", {}, (0, None), None),
        ("gres: shard:4", {}, (0, None), None),  # how many GPUs that is nobody says
        (
            "gres: gpu:8\njudge: {model: m, gpus: 4}", {"reward": {"judge": {"endpoint": sites.IN_JOB}}}, (0, None),
            "the stage needs 12",
        ),
        ("memory: 32G", {}, (61.2, None), "memory '32G' is less than the 62G that the stage needs a node"),
        ("memory: 1tb", {}, (900, None), None),
        ("memory: 0", {}, (900, None), None),  # all of the node's
        ("time: 1:00:00", {}, (0, 7200.0), "time '1:00:00' is too short: the stage needs at least 2 h 0 min"),
        ("time: UNLIMITED", {}, (0, 1e9), None),
    ],
)  # fmt: skip
def test_a_site_gives_what_the_stage_needs(
    tmp_path: Path, keys: str, stage: dict[str, object], needs: tuple[float, float | None], said: str | None
) -> None:
    given = _sites(tmp_path / "site.yaml", keys)
    with pytest.raises(SetupError) if said else nullcontext() as refused:
        check_need(given, "site.yaml", {"device": "cuda", "devices": 8, "nodes": 1, **stage}, *needs)
    assert said is None or (said in refused.value.message and refused.value.message.startswith("site.yaml: "))
