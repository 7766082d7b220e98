"""Serves a model: finds it, settles how it is served, and hands it to its engine."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import UsageError
from virc.engines.vllm import plan as vllm
from virc.engines.vllm.plan import Place
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.hardware import find as this_machine
from virc.models import registry as models
from virc.models.load import Choice, spoken_here
from virc.models.registry import Weights
from virc.serving import settings as serve
from virc.serving.settings import Config, Engine
from virc.systems.registry import Model
from virc_cli import serving_agent, serving_here, serving_vllm
from virc_cli.console import endpoint, output, plans
from virc_cli.serving_agent import Agent


class Asked(msgspec.Struct, frozen=True):
    """What to serve, as it was asked for.

    Args:
        engine: None: vLLM where it has builds.
        settings: those of `Config` that were chosen.
        agent: the model looks for itself; None: clients run the loop.
    """

    model: str | None
    system: str | None = None
    protocol: str | None = None
    engine: Engine | None = None
    settings: Mapping[str, Any] = {}
    agent: Agent | None = None
    family: str | None = None


def on_gpus(
    named: str | None, tensor: int | None, pipeline: int | None, data: int | None
) -> dict[str, object]:
    """The settings that `--gpus 4,5,6,7` stands for: those GPUs, which share every layer unless it is said otherwise.

    Raises:
        UsageError: it is no list of numbers, or names one twice.
    """
    if named is None:
        return {}
    words = [word.strip() for word in named.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words) or len({*map(int, words)}) < len(words):
        raise UsageError(f"--gpus {named[:60]} is no list of numbers", "for example --gpus 4,5,6,7")
    numbers = tuple(map(int, words))
    alone = tensor is None and pipeline is None and data is None
    return {"gpus": numbers, "tensor": len(numbers) if alone else tensor}


def run(asked: Asked, dry_run: bool, as_json: bool) -> None:
    """Serve until it is interrupted, or print what would be started.

    Raises:
        ConfigError: no such model or chat protocol, or the port is in use.
        SetupError: the model does not fit this machine, or something is missing.
        EngineError: vLLM ended.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    serve.check_address(asked.settings.get("host", Config().host))
    if asked.agent and asked.agent.endpoint:
        choice = Choice(asked.model, system=asked.system, protocol=asked.protocol, family=asked.family)
        serving_agent.in_front(asked.agent, choice, _without_engine(asked), dry_run, as_json)
        return
    engine = serve.choose_engine(asked.engine)
    if engine != "vllm" and asked.engine is None:
        output.note("vLLM has no build for this system: transformers serves, one request at a time")
    if not dry_run:
        _refuse_large_judge(asked, engine)
    weights = models.find(asked.model, Path.cwd(), asked.system)
    if asked.agent:
        weights = msgspec.structs.replace(weights, judge=False)  # it is asked to look
    config = serve.configure(engine, asked.settings, weights)
    if asked.agent:
        serve.looks(config.images)
    if engine == "vllm":
        _by_vllm(_with_device(config), asked, weights, dry_run, as_json)
        return
    if asked.agent:
        choice = Choice(protocol=asked.protocol, family=asked.family)
        serving_agent.here(asked.agent, config, weights, choice, dry_run, as_json)
        return
    show = serving_here.show_plan if dry_run else serving_here.run
    show(config, weights, _published(asked, weights, image_ids=False), as_json)


def _by_vllm(config: Config, asked: Asked, weights: Weights, dry_run: bool, as_json: bool) -> None:
    published = _published(asked, weights, image_ids=config.image_cache > 0)
    environment = making.find("serve", config.device)
    name = serve.served_name(config, weights)
    if not dry_run:
        endpoint.taken(config).close()  # vLLM would say that it is in use only when the model is loaded
        gib = serve.weights_gib(weights.folder, config.dtype)
        serve.refuse_unfit(config, weights.name, gib, this_machine(Path.cwd()), _others(asked))
        making.made(environment, output.note)
    place = Place(
        weights=weights,
        published=published,
        files=environments.cache_folder(os.environ) / "serve" / f"{name}-{config.port}",
        python=environments.interpreter(environment) or environment.python,
        recipes=(environments.recipes_place if dry_run else environments.recipes_in)(environment),
    )
    behind = serving_agent.behind(config) if asked.agent else config
    plan = vllm.plan(behind, place)
    log = place.files / "server.log"
    if dry_run and asked.agent:
        serving_agent.show_plan(config, name, "vllm", plan, as_json)
    elif dry_run and as_json:
        output.emit({"schema": "virc.serve.plan/1", "engine": "vllm", **plans.fields(plan), "error": None})
    elif dry_run:
        plans.show(plan)
    elif asked.agent:
        choice = Choice(name, system=asked.system, protocol=asked.protocol, family=asked.family)
        serving_agent.by_vllm(asked.agent, config, behind, plan, choice, log, as_json)
    else:
        serving_vllm.run(config, plan, name, log, as_json)


def _without_engine(asked: Asked) -> Mapping[str, Any]:
    """The settings of an endpoint before a server that runs.

    Raises:
        UsageError: an engine is asked for too.
    """
    if asked.engine:
        raise UsageError("--engine means nothing with --endpoint", "give it to the server that runs there")
    return asked.settings


def _published(asked: Asked, weights: Weights, image_ids: bool) -> str:
    """What clients are told; a judge is asked in plain chat unless a chat protocol was chosen."""
    plain = weights.judge and asked.protocol is None
    choice = Choice(protocol=asked.protocol, family=asked.family)
    protocol = None if plain else spoken_here(weights, choice).chat_protocol.protocol
    return serve.published(weights, protocol, image_ids)


def _with_device(config: Config) -> Config:
    return msgspec.structs.replace(config, device=config.device or environments.default_device())


def _others(asked: Asked) -> Mapping[str, Model]:
    return models.judges(asked.model or "", asked.system)


def _refuse_large_judge(asked: Asked, engine: Engine) -> None:
    """A judge that does not fit is refused before it is looked for: the next hint would be to download it."""
    name = asked.model or ""
    judge = _others(asked).get(name)
    if judge and judge.gib and engine == "vllm":
        config = _with_device(Config(**asked.settings))
        serve.refuse_unfit(config, name, judge.gib, this_machine(Path.cwd()), _others(asked))
