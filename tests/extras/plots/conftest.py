"""The workspace of tests of runs."""

from runs import conftest

workspace = conftest.workspace
