"""An empty working directory that no setting of the user reaches."""

from evaluation import conftest

here = conftest.here
