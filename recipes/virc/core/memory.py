"""Main memory of processes that belong together, as Linux counts it; nothing is known elsewhere."""

import re
from pathlib import Path

_KIB_A_GIB = 2**20


def of_tree(pid: int, root: Path = Path("/proc")) -> float:
    """GiB that a process and all its descendants take, pages that several share counted once among them.

    Args:
        root: folder that stands for /proc.
    """
    parents = {}
    for stat in root.glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):  # it has ended meanwhile
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return sum(_kib(root / str(each)) for each in found) / _KIB_A_GIB


def _kib(process: Path) -> int:
    """Its share of the pages it has in memory (PSS); 0 where it has ended, or is somebody else's."""
    try:
        text = (process / "smaps_rollup").read_text()
    except OSError:
        return 0
    share = re.search(r"(?m)^Pss:\s+(\d+) kB", text)
    return int(share[1]) if share else 0
