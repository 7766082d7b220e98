"""Logs rollouts to a real tracker: `trackers_child.py NAME FOLDER`; prints the hosts that it asked for, as JSON.

Where verl is installed its own `Tracking` opens the tracker, else this does as it does.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tracked import make_rollout

from virc_extras.trackers import rollouts


def open_tracker(name: str) -> Any:
    if find_spec("verl"):
        from verl.utils.tracking import Tracking  # type: ignore[import-not-found]

        return Tracking("virc", "mine", [name], config={"trainer": {}})
    if name == "mlflow":
        import mlflow  # type: ignore[import-not-found]

        mlflow.start_run(experiment_id=mlflow.set_experiment("virc").experiment_id, run_name="mine")
        return SimpleNamespace(logger={name: None}, finish=mlflow.end_run)
    if name == "trackio":
        import trackio  # type: ignore[import-not-found]

        trackio.init(project="virc", name="mine")
        return SimpleNamespace(logger={name: None}, finish=trackio.finish)
    import swanlab  # type: ignore[import-not-found]

    swanlab.init(project="virc", experiment_name="mine", mode="offline")
    return SimpleNamespace(logger={name: swanlab}, finish=swanlab.finish)


def main(name: str, folder: Path) -> None:
    asked: list[str] = []
    sys.addaudithook(lambda event, given: asked.append(str(given[0])) if event == "socket.getaddrinfo" else None)
    tracker = open_tracker(name)
    for step in (0, 5):
        rollouts.log(tracker.logger, "val/rollouts", step, [make_rollout(folder)], folder)
    tracker.finish()
    print(json.dumps(sorted({*asked} - {"localhost", "127.0.0.1"})))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
