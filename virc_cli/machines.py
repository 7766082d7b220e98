"""This machine, its GPUs asked for."""

from pathlib import Path

from virc_cli import launch
from virc_recipes import machine
from virc_recipes.errors import VircError
from virc_recipes.machine import Machine


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
