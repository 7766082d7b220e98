"""Rewards of published systems, some of which need extras, are not tested where these were taken away."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("virc_extras") else ["test_published_total.py"]
