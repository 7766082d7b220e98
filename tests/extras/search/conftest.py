"""The folder and the environment of tests of `virc solve`."""

from solving import conftest

clean = conftest.clean
