"""What processes are started with, what they said last, and what they and those below them take."""

import re
import signal
import sys
from pathlib import Path

import pytest
from support.loopback import until

from virc.core import processes
from virc.core.errors import EngineError, SetupError
from virc.core.plan import Step

LAUNCHERS = """
RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK NODE_RANK MASTER_ADDR MASTER_PORT PET_NNODES TORCHELASTIC_RUN_ID
ACCELERATE_USE_FSDP FSDP_VERSION MEGATRON_LM_TP_DEGREE PARALLELISM_CONFIG_TP_SIZE OMPI_COMM_WORLD_SIZE PMI_RANK
PMIX_RANK MV2_COMM_WORLD_RANK MPI_LOCALRANKID I_MPI_HYDRA_HOST_FILE CCL_WORKER_COUNT JSM_NAMESPACE_RANK
HYDRA_HOST_FILE RAY_ADDRESS RAY_NAMESPACE RAY_JOB_CONFIG_JSON_ENV_VAR USE_RAY
FORCE_TORCHRUN NPROC_PER_NODE VLLM_DP_RANK SLURM_PROCID SLURM_NTASKS
""".split()
PASSED = """
PATH HOME LANG LC_ALL TMPDIR https_proxy NO_PROXY LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES CUDA_HOME NCCL_SOCKET_IFNAME
OMP_NUM_THREADS PYTORCH_CUDA_ALLOC_CONF TORCHINDUCTOR_CACHE_DIR TORCH_NCCL_TRACE HF_HOME VLLM_USE_V1 RAY_AUTH_TOKEN
C_INCLUDE_PATH CUDACXX FLASHINFER_WORKSPACE_BASE NVSHMEM_BOOTSTRAP OFI_NCCL_USE_IPV6_TCP AWS_PROFILE AWS_DEFAULT_REGION
GOOGLE_APPLICATION_CREDENTIALS OPENAI_API_BASE NUMBA_CACHE_DIR MPLCONFIGDIR MODELSCOPE_CACHE JAVA_HOME HYDRA_FULL_ERROR
CURL_CA_BUNDLE HTTPLIB2_CA_CERTS VIRC_CACHE WANDB_PROJECT MLFLOW_TRACKING_URI OPENAI_BASE_URL MY_JUDGE_KEY SSL_CERT_FILE
SLURM_CONF
""".split()
UNKNOWN = (
    "HOMEBREW_PREFIX PRANK MASTER LS_COLORS SSH_CLIENT CONDA_PREFIX BASH_FUNC_module SBATCH_PARTITION WORLD".split()
)
JOB = {"VIRC_JOB": "7", "SLURM_JOB_ID": "7"}
OTHER_JOB = {"VIRC_JOB": "7", "SLURM_JOB_ID": "8"}


@pytest.mark.parametrize(
    ("names", "engine", "any_other", "in_job"),
    [
        (LAUNCHERS, False, False, [name.startswith("SLURM") for name in LAUNCHERS]),
        (PASSED, [name != "SLURM_CONF" for name in PASSED], True, True),
        (UNKNOWN, False, True, True),
    ],
    ids=["of launchers", "passed", "unknown"],
)
def test_a_process_gets_nothing_of_other_launchers(
    names: list[str], engine: bool | list[bool], any_other: bool, in_job: bool | list[bool]
) -> None:
    def assert_passed(step: Step, given: dict[str, str], expected: bool | list[bool]) -> None:
        gets = processes.environment(step, given | dict.fromkeys(names, "1"))
        assert [name in gets for name in names] == (expected if isinstance(expected, list) else [expected] * len(names))

    step = Step(("train",), "train")
    assert_passed(Step(("train",), "train", is_engine=True), {}, engine)
    assert_passed(step, {}, any_other)
    assert_passed(step, JOB, in_job)
    assert_passed(step, OTHER_JOB, any_other)


def test_a_step_that_fails_is_said_with_its_last_line(tmp_path: Path) -> None:
    lines: list[str] = []
    step = Step(("sh", "-c", "echo one >&2; echo 'no room.' >&2; echo >&2; exit 3"), "make room")
    with pytest.raises(EngineError, match=r"could not make room: exit code 3, no room\.$"):
        processes.output(step, lines.append)
    assert lines == ["one", "no room.", ""]
    log = tmp_path / "deep" / "log"
    for count in (1, 2):
        with pytest.raises(EngineError, match=r"exit code 3, no room\.") as raised:
            processes.run(step, log)
        assert log.read_text().count("no room.\n") == count
    assert raised.value.hint == f"see {log}"
    killed = Step(("sh", "-c", "kill -9 $$"), "go on")
    for run in (processes.output, lambda step: processes.answer(step, 60), lambda step: processes.run(step, log)):
        with pytest.raises(EngineError, match="could not go on: exit code -9, "):
            run(killed)
    for run in (processes.output, lambda step: processes.answer(step, 60)):
        with pytest.raises(EngineError, match=r"exit code 1, no output$"):
            run(Step(("false",), "go on"))
        assert run(Step(("printf", r"a\377\n"), "write")) == "a\ufffd\n"
    with pytest.raises(EngineError, match=r"exit code 4, two; three$"):
        processes.answer(Step(("sh", "-c", "for each in one two three; do echo $each >&2; done; exit 4"), "go"), 60)
    with pytest.raises(SetupError, match="/no/such cannot be started"):
        processes.output(Step(("/no/such",), ""))


def test_a_step_whose_reader_is_interrupted_ends_before_its_work_is_done(tmp_path: Path) -> None:
    lines: list[str] = []

    def interrupted(line: str) -> None:
        lines.append(line)
        raise KeyboardInterrupt

    script = 'echo $$ >&2; sleep 9; touch "$0"'
    with pytest.raises(KeyboardInterrupt):
        processes.output(Step(("sh", "-c", script, str(tmp_path / "done")), "wait"), interrupted)
    assert processes.start_time(int(lines[0])) is None
    assert not (tmp_path / "done").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_ends_with_all_that_it_started(tmp_path: Path) -> None:
    script = "(trap 'sleep 0.1; echo saved; exit' TERM; sleep 99 & echo ready; wait) & echo $!; wait"
    with processes.started(Step(("sh", "-c", script), "wait"), log := tmp_path / "log") as process:
        until(lambda: {"ready", ""} < {*re.sub(r"(?m)^\d+$", "", log.read_text()).splitlines()})
    *_, pid = re.findall(r"(?m)^\d+$", log.read_text())
    assert "saved" in log.read_text().splitlines()  # each is asked to end, and waited for
    assert [processes.start_time(each) for each in (process.pid, int(pid))] == [None, None]


@pytest.mark.parametrize(("saves_on", "code"), [("SIGUSR1", 7), ("", -signal.SIGKILL)])
def test_an_attended_step_that_is_interrupted_saves_or_is_killed(
    saves_on: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[processes.Process] = []
    wait = processes.Process.wait

    def interrupted(self: processes.Process, seconds: float | None = None) -> int | None:
        waited.append(self)
        if len(waited) > 1:
            return wait(self, seconds)
        until((tmp_path / "ready").exists)
        raise KeyboardInterrupt

    monkeypatch.setattr(processes.Process, "wait", interrupted)
    script = "trap 'exit 7' USR1; touch ready; while :; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt):
        processes.attended(Step(("sh", "-c", script), "run", saves_on=saves_on), tmp_path)
    assert wait(waited[0], 0) == code
