"""Starts, watches and ends processes.

`run` and `started` write a step's output to a log, `attended` shows it, `output` and `answer` return it.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

from virc.core.credentials import is_secret
from virc.core.errors import EngineError, SetupError, errors_as
from virc.core.events import Reporter
from virc.core.interpreter import interrupts_deferred
from virc.core.orphans import end_with_parent
from virc.core.plan import Step
from virc.core.text import plain

_GRACE = 10.0  # seconds between asking a process group to end and ending it
_MAX_OF_PREFIX = 2  # so many variables of one prefix are named one by one; more are named `PREFIX_*`
_LOOK = 0.05  # seconds between two looks whether it has ended
_ACCESS = re.compile(r' - "[A-Z]+ .* HTTP/[\d.]+" \d{3}')

_OF_LAUNCHERS = re.compile(
    r"((LOCAL|GROUP|ROLE|NODE|CROSS)_)?RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|LOCAL_SIZE|MASTER_(ADDR|PORT)"
    r"|(TORCHELASTIC|PET|ACCELERATE|FSDP|MEGATRON_LM|PARALLELISM_CONFIG|DEEPSPEED|VLLM_DP)_\w+"
    r"|(OMPI|PMI|PMIX|PRTE|MV2|MPI|I_MPI|HYDRA(?!_FULL_ERROR$)|MPIEXEC|JSM|PALS|FLUX|BPSM|HOROVOD)_\w+|CCL_WORKER_COUNT"
    r"|RAY_(ADDRESS|API_SERVER_ADDRESS|NAMESPACE|JOB_\w+)|USE_RAY|FORCE_TORCHRUN|NNODES|NPROC_PER_NODE"
)
"""Variables by which torchrun, Accelerate, MPI and Ray tell a process which others it belongs to, and how."""
_OF_A_JOB = re.compile(r"SLURM_(?!CONF$|CLUSTERS$)\w+|SLURMD_\w+")
_FOR_ENGINES = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TERM|HOSTNAME|PWD|OLDPWD|SHLVL|_|TEMP|TMP|CC|CXX|CPATH|SYSTEMROOT"
    r"|(?i:(https?|all|ftp|no)_proxy)|\w+_(CA_\w+|CERTS?(_\w+)?)|DO_NOT_TRACK|USE_(HF|MODELSCOPE)\w*|HYDRA_FULL_ERROR"
    r"|\w+_(ENDPOINT|URL|URI|API_BASE|HOME|PATH|CACHE\w*)|\w+DIR|(CUDA|NV|PYTHON|TORCH)\w*"
    r"|(LC|LD|XDG|SSL|CUDNN|CUBLAS|HIP|HSA|ROCR|ROCM|MIOPEN|NCCL|RCCL|OFI|GLOO|UCX|FI|IBV"
    r"|OMP|GOMP|KMP|MKL|OPENBLAS|NUMEXPR|NUMBA|MALLOC|PYTORCH|TRITON|DS|FLASH|FLASHINFER|LIGER|XFORMERS"
    r"|AWS|AZURE|GOOGLE|OPENAI|HF|HUGGINGFACE|TRANSFORMERS|TOKENIZERS|DATASETS|VLLM|VERL|TQ|RAY|VIRC"
    r"|WANDB|MLFLOW|SWANLAB|TENSORBOARD)(_\w+)?"
)
"""What an engine gets of this process's variables, besides keys: the system's, and those of its own libraries."""


class Process:
    """A step that was started; all it starts itself is in its process group."""

    def __init__(self, step: Step, popen: "subprocess.Popen[bytes]") -> None:
        self.pid = popen.pid
        self._step, self._popen = step, popen

    def wait(self, seconds: float | None = None) -> int | None:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_save(self) -> None:
        """Send the signal on which it saves its work and ends, to itself or its children as the step says."""
        number = signal.Signals[self._step.saves_on]
        targets = (self._step.through and _children(self.pid)) or [self.pid]  # no children yet: nothing to save
        for pid in targets:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        if sys.platform == "win32":  # which has no groups of processes
            self._popen.kill()
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        if not self._gone_within(_GRACE):
            kill(self.pid)
            self._gone_within(_GRACE)

    def _gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() <= end:
            if self.wait(0) is not None and not _runs(self.pid):
                return True
            time.sleep(_LOOK)
        return False


def kill(group: int) -> None:
    """Kill a process group and the children of its leader, torchrun's workers, which have sessions of their own."""
    workers = _children(group)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for pid in workers:  # after the leader, which would otherwise see them end and go on
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _GRACE
    while any(start_time(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(_LOOK)


@contextmanager
def started(step: Step, log: Path) -> Iterator[Process]:
    """Start a step; what it writes is added to `log`. It does not outlive the block, nor this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    removed = removed_variables(step, os.environ)
    prefix = ["env", *(word for name in removed for word in ("-u", name))] if removed else []
    with log.open("ab") as file:
        file.write(f"$ {' '.join([*prefix, *step.argv])}\n".encode("utf-8", "replace"))
        file.flush()
        process = Process(step, _popen(step, file, subprocess.STDOUT))
        try:
            yield process
        finally:
            if process.wait(0) != 0:  # a launcher that was killed leaves its workers
                process.end()


def run(step: Step, log: Path) -> None:
    """Run a step to its end; what it writes is added to `log`. Ctrl-C and SIGTERM end the whole process group.

    Raises:
        EngineError: it failed; the message has its exit code and last line, the hint the log.
    """
    with started(step, log) as process:
        code = process.wait()
    if code:
        raise EngineError(f"could not {step.says}: {last_words(log, code)}", f"see {log}")


def attended(step: Step, folder: Path) -> int:
    """Run a step in a folder, all that it prints on this process's stderr; returns its exit code.

    Raises:
        KeyboardInterrupt: it was interrupted: the step was asked to save, and has ended; a second one ends it at once,
            as the first one does where it saves nothing.
    """
    # 2: where a terminal is, its own line of progress too
    process = Process(step, _popen(step, 2, None, folder))
    try:
        code = process.wait()
        assert code is not None
        return code
    except KeyboardInterrupt:
        if step.saves_on:
            process.ask_to_save()
            process.wait()
        else:
            kill(process.pid)
        raise
    finally:
        if process.wait(0) is None:
            process.end()


def output(step: Step, on_line: Callable[[str], None] = lambda line: None) -> str:
    """What a step prints. Raises EngineError: it failed."""
    popen = _popen(step, subprocess.PIPE, subprocess.PIPE)
    try:
        out, last = _communicate(popen, on_line)
        popen.wait()
    except BaseException:
        Process(step, popen).end()
        raise
    if popen.returncode:
        raise EngineError(f"could not {step.says}: exit code {popen.returncode}, {last or 'no output'}")
    return out.decode("utf-8", "replace")


def answer(step: Step, seconds: float) -> str:
    """What a step prints that answers soon, else it is killed. Raises EngineError: it failed, or took too long."""
    popen = _popen(step, subprocess.PIPE, subprocess.PIPE, outlives=True)
    try:
        out, error = popen.communicate(timeout=seconds)
    except BaseException as failure:
        kill(popen.pid)
        popen.communicate()
        if isinstance(failure, subprocess.TimeoutExpired):
            raise EngineError(f"could not {step.says}: {step.argv[0]} did not answer in {seconds:g} s") from None
        raise
    if popen.returncode:
        text = plain("; ".join(error.decode("utf-8", "replace").splitlines()[-2:]))
        raise EngineError(f"could not {step.says}: exit code {popen.returncode}, {text or 'no output'}")
    return out.decode("utf-8", "replace")


def _communicate(popen: "subprocess.Popen[bytes]", on_line: Callable[[str], None]) -> tuple[bytes, str]:
    """Stdout, and the last line of stderr; both are read as they come, so that neither can fill up."""
    stdout, stderr = popen.stdout, popen.stderr
    assert stdout
    assert stderr
    out, last = bytearray(), ""

    def read() -> None:
        with stdout:
            out.extend(stdout.read())

    reading = threading.Thread(target=read, daemon=True)
    reading.start()  # a selector takes no pipes on Windows
    with stderr:
        for line in stderr:
            text = line.decode("utf-8", "replace").strip()
            last = text or last
            on_line(text)
    reading.join()
    return bytes(out), last


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None if it has ended. Ids are reused, times are not."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def last_words(log: Path, code: int | None) -> str:
    """`exit code N, …` with the last line of a log, without those that a web server writes of each request."""
    last = "it said nothing"
    with log.open("rb") as file:
        for line in (line.decode("utf-8", "replace").strip() for line in file):
            if line and not line.startswith("$ ") and not _ACCESS.search(line):
                last = line
    return f"exit code {code}, {last[:300]}"


def in_job(given: Mapping[str, str]) -> str | None:
    """The id of the Slurm job whose script of virc's started this process; None also in a job that the user started."""
    job = given.get("VIRC_JOB")
    return job if job and job == given.get("SLURM_JOB_ID") else None


def of_launchers(given: Mapping[str, str]) -> list[str]:
    """The variables of a shell that another launcher has set: a process that is given them waits for its peers.

    Those of Slurm are among them, but in a job of virc's own.
    """
    theirs = [_OF_LAUNCHERS] if in_job(given) else [_OF_LAUNCHERS, _OF_A_JOB]
    return sorted(name for name in given if any(each.fullmatch(name) for each in theirs))


def removed_variables(step: Step, given: Mapping[str, str]) -> list[str]:
    gets = environment(step, given)
    return sorted(name for name in given if name not in gets)


def report_removed(step: Step, given: Mapping[str, str], report: Reporter, unless: str = "") -> None:
    """Name the variables that the step's process does not get, but for those that the step takes away itself."""
    launchers, removed = of_launchers(given), [name for name in removed_variables(step, given) if name not in step.env]
    others = [name for name in removed if name not in launchers and not name.startswith("SLURM")]
    if launchers:
        report.note(f"not given to any process: {_names(launchers)}, which another launcher has set in this shell")
    if others:
        report.note(f"not given to the engine{unless}: {_names(others)}")


def _names(names: list[str]) -> str:
    prefixes = [name.split("_")[0] for name in names]
    counts = Counter(prefixes)
    pairs = zip(names, prefixes, strict=True)
    short = (f"{prefix}_*" if counts[prefix] > _MAX_OF_PREFIX else plain(name, 60) for name, prefix in pairs)
    return ", ".join(dict.fromkeys(short))


def environment(step: Step, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that a step's process gets; one that the step sets to nothing is removed."""
    withheld = {*of_launchers(given)}
    if step.is_engine:
        withheld |= {name for name in given if not (_FOR_ENGINES.fullmatch(name) or is_secret(name))}
    env = {name: value for name, value in given.items() if name not in withheld} | dict(step.env)
    return {name: value for name, value in env.items() if value or name not in step.env}


def _popen(
    step: Step, stdout: int | IO[bytes], stderr: int | None, folder: Path | None = None, outlives: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a step; `outlives`: it ends by itself soon, also if virc is killed. Raises SetupError: it cannot start."""
    bound = not outlives and sys.platform == "linux" and threading.current_thread() is threading.main_thread()
    env = environment(step, os.environ)
    # Python drops exceptions that are raised while it forks, such as that of Ctrl-C.
    with errors_as(SetupError, f"{step.argv[0]} cannot be started"), interrupts_deferred():
        return subprocess.Popen(
            step.argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=True,
            # Without it, an engine would keep running after virc is killed. The kernel ends the engine when the thread
            # that started it ends, so this is set for the main thread only. With a preexec_fn Python forks, which
            # copies the page tables: 70 ms in a process that has loaded torch.
            preexec_fn=end_with_parent if bound else None,  # noqa: PLW1509
        )  # fmt: skip


def _runs(group: int) -> bool:
    """Whether a process of a group runs; one that has ended stays in it as a zombie until its parent asks for it."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    fields = (found for stat in Path("/proc").glob("[0-9]*/stat") if (found := _stat(stat)))
    states = {found[0] for found in fields if found[2] == str(group)}
    return states != {"Z"}  # there are none where there is no /proc


def _children(pid: int) -> list[int]:
    return [child for child, parent in _parents(Path("/proc")).items() if parent == pid]


def _parents(root: Path) -> dict[int, int]:
    fields = ((int(stat.parent.name), _stat(stat)) for stat in root.glob("[0-9]*/stat"))
    return {pid: int(found[1]) for pid, found in fields if found}


def _stat(file: Path) -> list[str] | None:
    """The fields of a `stat` of /proc after the command's name; None if the process has ended."""
    try:
        return file.read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def own_stdout(shared: TextIO) -> TextIO:
    """Stdout on a new descriptor; descriptor 1 becomes stderr, as C libraries flush their buffers to it at exit."""
    try:
        if shared.fileno() != 1:
            return shared
        shared.flush()
        own = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a stream of a test or a notebook has no descriptor, or there is no stderr
        return shared
    return os.fdopen(own, "w", encoding=shared.encoding, errors=shared.errors)
