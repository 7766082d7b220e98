"""Whether a hint helps: the setting that it names is set so, and the fault it stands for is gone."""

import re
from typing import Any

import msgspec
import yaml

from virc.config.validation import Fault
from virc.engines import registry as engines


def helps(kind: str, config: Any, fault: Fault) -> bool:
    """Whether the fault goes where the hint is followed; hints that name no value are believed."""
    found = re.match(r"(?:--set )?(\w+)[:=] ?(\[.*?\]|[^,]+)", fault.hint or "")
    if not found or "or other" in str(fault.hint):
        return True
    values = msgspec.to_builtins(config) | {found[1]: yaml.safe_load(found[2])}
    left = engines.faults(kind, msgspec.convert(values, type(config)))
    return _shape(fault) not in map(_shape, left)


def _shape(fault: Fault) -> str:
    """What is said, without its numbers."""
    return re.sub(r"\d+", "0", fault.message)
