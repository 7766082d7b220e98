"""This machine, its GPUs asked for."""

from pathlib import Path

from virc.core.errors import VircError
from virc.envs import hardware as machine
from virc.envs.hardware import Machine
from virc_cli import launch


def find(disk: Path) -> Machine:
    """What this machine has; GPUs that do not answer are none, and `trouble` says so where a driver is loaded.

    Args:
        disk: path whose free disk counts.
    """
    failure: VircError | None = None
    gpus: tuple[machine.Gpu, ...] = ()
    try:
        gpus = machine.read_gpus(launch.output(machine.gpu_step()))
    except VircError as error:
        failure = error
    return machine.here(disk, gpus, machine.trouble(failure, gpus))
