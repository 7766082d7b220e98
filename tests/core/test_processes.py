"""What processes are started with, what they said last, and what they and those below them take."""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.loopback import until

from virc.core import processes
from virc.core.errors import EngineError, SetupError
from virc.core.events import Reporter
from virc.core.plan import Step


def test_an_empty_value_takes_a_variable_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("KEPT_EMPTY", "")
    step = Step(("env",), "list variables", {"CUDA_VISIBLE_DEVICES": "", "ADDED": "1"})
    said = processes.output(step).splitlines()
    assert {"KEPT_EMPTY=", "ADDED=1"} <= set(said)
    assert not any(line.startswith("CUDA_VISIBLE_DEVICES") for line in said)


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


def test_a_step_gets_the_variables_it_names_itself() -> None:
    step = Step(("train",), "train", {"RANK": "3", "MINE": "1", "HOME": ""}, is_engine=True)
    assert processes.environment(step, {"RANK": "1", "HOME": "/home/me"}) == {"RANK": "3", "MINE": "1"}


def said_of_removed(given: list[str], **values: Any) -> list[str]:
    said: list[str] = []
    step = Step(("train",), "train", **values)
    processes.report_removed(step, dict.fromkeys(given, "hidden"), Reporter(lambda event: said.append(event.text)))
    return said


def test_what_is_removed_is_said_by_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = ["RANK", "MASTER_ADDR", "PATH", *(f"SLURM_{number}" for number in range(30))]
    launchers = "not given to any process: MASTER_ADDR, RANK, SLURM_*, which another launcher has set in this shell"
    engine = "not given to the engine: "
    own = ["MY_WEIGHT", "NAMED", "TAKEN", "VSCODE_A", "VSCODE_B", "VSCODE_C", "PATH"]
    assert said_of_removed([*shell, *own]) == [launchers]
    assert said_of_removed(own, env={"NAMED": "1", "TAKEN": ""}, is_engine=True) == [engine + "MY_WEIGHT, VSCODE_*"]
    assert said_of_removed(["PATH", "SLURM_CONF"], is_engine=True) == []
    assert said_of_removed(["A\nB" + "x" * 99], is_engine=True) == [engine + "A B" + "x" * 57 + "…"]
    monkeypatch.setenv("RANK", "1")
    processes.run(Step(("true",), "do nothing"), tmp_path / "log")
    assert (tmp_path / "log").read_text().startswith("$ env ")
    assert " -u RANK " in (tmp_path / "log").read_text()


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


def test_output_is_read_as_on_windows_where_no_selector_takes_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectors.DefaultSelector", lambda: pytest.fail("WinError 10038"))
    lines: list[str] = []
    script = "import sys; sys.stdout.write('y' * 999_999); sys.stderr.write('x\\n' * 99_999 + 'end')"
    assert len(processes.output(Step((sys.executable, "-S", "-c", script), "write"), lines.append)) == 999_999
    assert (len(lines), lines[-1]) == (100_000, "end")


def test_a_step_whose_reader_is_interrupted_ends_before_its_work_is_done(tmp_path: Path) -> None:
    lines: list[str] = []

    def interrupted(line: str) -> None:
        lines.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.output(Step(("sh", "-c", f"echo $$ >&2; sleep 9; touch {tmp_path}/done"), "wait"), interrupted)
    assert processes.start_time(int(lines[0])) is None
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"$ vllm serve\nloading\nout of memory\n\n", "out of memory"),
        (b'out of memory\nINFO: 127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK\n', "out of memory"),
        (b"$ vllm serve\n", "it said nothing"),
        (b"\xff" + b"x" * 999, "\ufffd" + "x" * 299),
    ],
)
def test_the_last_words_of_a_log_are_those_of_the_program(tmp_path: Path, log: bytes, words: str) -> None:
    (file := tmp_path / "log").write_bytes(log)
    assert processes.last_words(file, -9) == f"exit code -9, {words}"


def test_memory_is_that_of_a_process_and_all_below_it(tmp_path: Path) -> None:
    for pid, parent, kib in ((1, 0, 8), (20, 1, 2**20), (21, 20, 2**20), (22, 21, 2**19), (30, 1, 2**30)):
        (folder := tmp_path / str(pid)).mkdir()
        (folder / "stat").write_text(f"{pid} (a ) b) S {parent} 0 0\n")
        (folder / "smaps_rollup").write_text(f"Rss: 9999999 kB\nPss:  {kib} kB\nPss_Anon: 1 kB\n")
    assert processes.memory_of_tree(20, tmp_path) == 2.5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_ends_with_all_that_it_started(tmp_path: Path) -> None:
    script = "(trap 'sleep 0.1; echo saved; exit' TERM; sleep 99 & echo ready; wait) & echo $!; wait"
    with processes.started(Step(("sh", "-c", script), "wait"), log := tmp_path / "log") as process:
        until(lambda: {"ready", ""} < {*re.sub(r"(?m)^\d+$", "", log.read_text()).splitlines()})
    *_, pid = re.findall(r"(?m)^\d+$", log.read_text())
    assert "saved" in log.read_text().splitlines()  # each is asked to end, and waited for
    assert [processes.start_time(each) for each in (process.pid, int(pid))] == [None, None]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_time_that_a_process_started_at_is_its_own() -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()  # from the third on
    assert processes.start_time(os.getpid()) == int(fields[22 - 3])  # proc(5): starttime is the 22nd
    assert processes.start_time(2**22 + 1) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_that_heeds_no_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.05)
    step = Step(("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"), "wait")
    with processes.started(step, log := tmp_path / "log") as process:
        until(lambda: log.read_text().endswith("ready\n"))
    assert processes.start_time(process.pid) is None
    assert process.wait(0) == -signal.SIGKILL


def test_an_attended_step_runs_in_its_folder_and_says_how_it_ended(tmp_path: Path) -> None:
    assert processes.attended(Step(("sh", "-c", "pwd > here; exit 3"), "run"), tmp_path) == 3
    assert (tmp_path / "here").read_text() == f"{tmp_path}\n"


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


def test_work_is_saved_by_the_signal_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(processes, "_children", lambda pid: [pid + 1, pid + 2])

    class Started:
        """A process of that id."""

        pid = 70

    for step in (Step((), "", saves_on="SIGUSR1"), Step((), "", saves_on="SIGTERM", through=True)):
        processes.Process(step, Started()).ask_to_save()  # type: ignore[arg-type]
    assert sent == [(70, signal.SIGUSR1), (71, signal.SIGTERM), (72, signal.SIGTERM)]


@pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux ends a process with its parent")
def test_the_kernel_ends_a_step_with_virc_unless_it_ends_soon_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[Any]()
    monkeypatch.setattr(processes.subprocess, "Popen", lambda argv, **options: begun.append(options["preexec_fn"]))
    for outlives in (False, True):
        processes._popen(Step("engine", ("true",)), 1, 2, outlives=outlives)
    assert begun == [processes.end_with_parent, None]
