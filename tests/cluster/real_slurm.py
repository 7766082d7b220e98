"""A real Slurm on this machine's loopback addresses: munged, slurmctld and two slurmd, with their own ports and key.

Debian's packages `slurm-wlm` and `munge` have all of it. Works as root and as an ordinary user.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.loopback import free_port

from virc.core.orphans import end_with_parent

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
NODES = ("127.0.0.1", "127.0.0.2")
"""The nodes; their names are addresses, so that every process can connect to them."""
CORES = 4
"""Of each node, as Slurm counts them; the machine may have fewer."""
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_PATIENCE = 180.0
_CONF = """\
ClusterName=virc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0,requeue_delay=0
FirstJobId={first}
KillWait=3
MessageTimeout=5
SlurmctldTimeout=10
SlurmdTimeout=6
InactiveLimit=0
MinJobAge=3600
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """The first program that is not installed; None where all are."""
    path = f"{os.environ['PATH']}:{_SBIN}"
    return next((name for name in PROGRAMS if shutil.which(name, path=path) is None), None)


class Slurm:
    """A cluster that runs.

    Attributes:
        folder: its configuration, state and logs.
        env: the variables by which Slurm's programs find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"], _SBIN))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "VIRC_JOB"))}
        self.env = {**kept, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *words: str) -> str:
        """What a program of Slurm prints; fails where it fails."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=_PATIENCE)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def words(self, *words: str) -> str:
        """What a program of Slurm prints, also where it fails."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=_PATIENCE)
        return done.stdout + done.stderr

    def start(self, name: str) -> None:
        """Start a daemon: `munged`, `slurmctld`, or the slurmd of a node by the node's name."""
        conf, munge = str(self.folder / "slurm.conf"), self.folder / "munge"
        argv = {
            "munged": (
                "munged", "--foreground", "--force", "--key-file", f"{munge}.key", "--socket", str(munge),
                "--pid-file", f"{munge}.pid", "--log-file", f"{munge}.log", "--seed-file", f"{munge}.seed",
            ),
            "slurmctld": ("slurmctld", "-D", "-f", conf),
        }.get(name, ("slurmd", "-D", "-N", name, "-f", conf))  # fmt: skip
        program = shutil.which(argv[0], path=self.env["PATH"])
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                (program or argv[0], *argv[1:]), env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=end_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill a daemon; with a node's slurmd all its jobs' processes, as when the node loses its power."""
        self.end(name, signal.SIGKILL)
        for pid in self._steps(f"/{name}.log "):
            kill_tree(pid)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a daemon alone; a controller that is asked to end writes down what it knows."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        daemon.wait(_PATIENCE)

    def _steps(self, mark: str) -> list[int]:
        """The step daemons of this cluster with a mark in their title or in the path of a log they write."""
        return [pid for pid in _slurmstepds() if mark in _node_and_title(pid, self.folder)]

    def step(self, job: str, name: str = "0") -> int | None:
        """The process of the slurmstepd of a job's step; `batch` is the step of the script itself."""
        return next(iter(self._steps(f"[{job}.{name}]")), None)

    def state(self, job: str) -> str:
        """The job's state in Slurm's words, such as `RUNNING`."""
        return self.show(job)["JobState"]

    def show(self, job: str) -> dict[str, str]:
        """The fields of `scontrol show job`."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return {key: value for key, _, value in (word.partition("=") for word in words)}

    def exit_code(self, job: str) -> str:
        """How the job ended, as Slurm prints it: `CODE:SIGNAL`."""
        return self.show(job)["ExitCode"]

    def now(self, job: str) -> None:
        """Start a job that Slurm holds back for a time after its requeue."""
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def notify(self, job: str) -> None:
        """Send what Slurm sends before the end of a job's time."""
        self.run("scancel", "--batch", "--signal=USR1", job)

    def heeds(self, job: str, number: signal.Signals) -> bool:
        """Whether a signal no longer ends the script of a job: it is ignored or caught."""
        for script in children(self.step(job, "batch") or 0):
            with suppress(OSError):  # it may end meanwhile
                lines = Path(f"/proc/{script}/status").read_text().splitlines()
                masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigIgn", "SigCgt"))]
                if any(mask & 1 << number - 1 for mask in masks):
                    return True
        return False

    def until(self, there: Callable[[], bool], said: Callable[[], str], patience: float = _PATIENCE) -> None:
        """Wait until something is the case; fails with `said` if it is not in so many seconds."""
        end = time.monotonic() + patience
        while not there():
            assert time.monotonic() < end, (
                f"{said()}\n{self.words('squeue', '--long')}\n{self.words('sinfo', '--long')}"
            )
            time.sleep(0.1)

    def until_idle(self) -> None:
        """Wait until every node is up and without a job."""
        self.until(lambda: self.node_states() == ["idle"] * len(NODES), lambda: "the nodes are not idle")

    def node_states(self) -> list[str]:
        """The state of each node, such as `idle`, `mixed` or `down*`."""
        return self.run("sinfo", "--noheader", "--Node", "--format=%T").split()

    def clear(self) -> None:
        """Cancel every job, start what was killed, and wait until the nodes are idle."""
        for name in ("munged", "slurmctld", *NODES):
            if name not in self._daemons or self._daemons[name].poll() is not None:
                self.start(name)
        self.until(self._answers, self.logs)
        jobs = self.run("squeue", "--noheader", "--format=%A").split()
        if jobs:
            self.run("scancel", *jobs)
        self.until(lambda: not self.run("squeue", "--noheader", "--format=%A"), lambda: "a job does not end")
        for node, state in zip(NODES, self.node_states(), strict=True):
            if "drain" in state or "down" in state:
                self.words("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.until_idle()

    def _answers(self) -> bool:
        done = subprocess.run(["scontrol", "ping"], env=self.env, capture_output=True, text=True)
        return "is UP" in done.stdout

    def logs(self) -> str:
        """The ends of what the daemons wrote."""
        files = (*self.folder.glob("*.log"), *self.folder.glob("*.out"))
        return "\n".join(f"{file.name}: {file.read_text(errors='replace')[-1500:]}" for file in files)

    def stop(self) -> None:
        """End every daemon and every process of a job."""
        for name in list(self._daemons):
            self.kill(name)


@contextmanager
def cluster() -> Iterator[Slurm]:
    """A cluster of two nodes, which is gone behind the block."""
    # Not pytest's folder: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="virc-slurm-", ignore_cleanup_errors=True) as name:
        slurm = Slurm(_configured(Path(name)))
        try:
            for daemon in ("munged", "slurmctld", *NODES):
                slurm.start(daemon)
            slurm.until(slurm._answers, slurm.logs)
            slurm.until_idle()
            yield slurm
        finally:
            slurm.stop()


def _configured(folder: Path) -> Path:
    folder.chmod(0o755)  # munged refuses a socket in a folder that others cannot enter
    for name in ("state", *NODES):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host, ports = socket.gethostname(), [free_port() for _ in range(1 + len(NODES))]
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr={node} Port={port} CPUs={CORES} RealMemory=4000"
        for node, port in zip(NODES, ports[1:], strict=True)
    )
    user = getpass.getuser()
    # No two clusters of a machine have the same jobs: a run's own ports come from the job's number.
    conf = _CONF.format(host=host, ports=ports, user=user, folder=folder, nodes=nodes, first=ports[0] % 10000 + 1000)
    (folder / "slurm.conf").write_text(conf)
    return folder


def _slurmstepds() -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"slurmstepd" in file.read_bytes().split(b"\0")[0]:
                found.append(int(file.parent.name))
    return found


def _node_and_title(pid: int, folder: Path) -> str:
    """The title of a step daemon and the paths it has open in a cluster's folder; empty for one of another cluster."""
    opened = set()
    with suppress(OSError):
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                opened.add(str(link.readlink()))
        mine = [path for path in opened if path.startswith(str(folder))]
        return " ".join((title, *mine, "")) if mine else ""
    return ""


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    with suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []


def kill_tree(pid: int) -> None:
    """Kill a process and all it started, the parents first."""
    below = [pid]
    for each in below:
        below += children(each)
    for each in below:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
