"""verl's own task runner, which trains with our trainer: its metrics and rollouts (`verl.trainer`)."""

from typing import Any

from verl.trainer.main_ppo import TaskRunnerV1  # type: ignore[import-not-found]


class Runner(TaskRunnerV1.__ray_metadata__.modified_class):  # type: ignore[misc]  # Ray lets nobody inherit from an actor
    """The process that holds verl's trainer."""

    def run(self, config: Any) -> None:
        from virc.engines.verl import trainer as verl_trainer

        verl_trainer.install()
        super().run(config)
