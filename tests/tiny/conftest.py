"""How `tiny` is made is not tested where extras were taken away: what it refuses is drawn by one."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("virc_extras") else ["test_encode.py", "test_phases.py", "test_polygons_golden.py"]
