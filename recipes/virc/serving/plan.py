"""What is started for a request to serve a model: found, checked and settled, with nothing running yet."""

import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from virc.backends import inventory
from virc.config import user
from virc.config.options import Engine
from virc.config.validation import fields_given
from virc.core.errors import ConfigError, UsageError
from virc.core.events import Reporter
from virc.core.options import marked
from virc.core.plan import Plan
from virc.engines.vllm import plan as vllm
from virc.envs import environment as environments
from virc.envs import hardware, making
from virc.models import load as opened
from virc.models import registry as models
from virc.models.load import Choice
from virc.models.registry import Weights
from virc.serving import address, settings
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup
from virc.solving.solver import SolverSetup, pipelines
from virc.stages.serve import Config

SECONDS = 600.0
"""Longest time for a problem of an agent endpoint, in seconds, if none is chosen."""
# The settings of an agent endpoint that mean something if its models run elsewhere.
_WITH_ENDPOINT = frozenset({"host", "port", "name", "api_key", "limit_images"})
_WITH_PIPELINE = _WITH_ENDPOINT | {"device"}


class Agent(msgspec.Struct, frozen=True):
    """Settings of an agent endpoint.

    Args: as of the options of `serve`, and
        key: API key of the server that draws replies.
        timeout: seconds for a problem, its wait included.
    """

    endpoint: str | None = None
    key: str | None = None
    concurrency: int | None = None
    timeout: float = SECONDS
    max_tokens: int | None = None
    pipeline: str | None = None
    roles: Mapping[str, str] = {}
    extra_body: str | None = None
    thinking: user.Switch | None = None


class ServeRequest(msgspec.Struct, frozen=True):
    """What to serve.

    Args:
        model: as `virc.models.registry.find` takes it; with `agent.endpoint`, a name which that server lists.
        system, protocol, family: as in `Choice`.
        engine: None: llama.cpp for a GGUF file, else vLLM if it has builds.
        settings: the fields of `Config` that were chosen.
    """

    model: str | None
    system: str | None = None
    protocol: str | None = None
    engine: Engine | None = None
    settings: Mapping[str, Any] = {}
    agent: Agent | None = None
    family: str | None = None

    def choice(self, **changes: Any) -> Choice:
        return Choice(**{"protocol": self.protocol, "family": self.family, "exact_words": True, **changes})


def settings_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Config` that options choose."""
    return {name: value for name, value in fields_given(Config, options).items() if value is not None}


class VllmPlan(msgspec.Struct, frozen=True):
    """The vLLM that is started: of clients, or hidden behind an agent endpoint."""

    config: Config
    name: str
    place: vllm.Place
    log: Path

    @property
    def plan(self) -> Plan:
        return vllm.plan(self.config, self.place)

    def hidden(self) -> "VllmPlan":
        """The same at a new port, with a new key, which this process alone knows."""
        key, port = secrets.token_urlsafe(32), address.free_port()
        config = msgspec.structs.replace(self.config, host="127.0.0.1", port=port, api_key=key)
        return msgspec.structs.replace(self, config=config)


class ServePlan(msgspec.Struct, frozen=True):
    """What is to be started for a request.

    Args:
        config: settings of the endpoint that clients use.
        name: what clients call the model; None: as the server behind the agent endpoint calls it.
        source: what draws replies: `vllm`, `transformers`, `llamacpp`, `pipeline` or the address of a server.
        published: the facts about the model that clients get, as JSON.
        vllm: the vLLM that is started.
        solver: what answers in place of a model, not open yet.
    """

    config: Config
    name: str | None
    source: str
    weights: Weights | None = None
    published: str = "{}"
    vllm: VllmPlan | None = None
    solver: SolverSetup | None = None


def prepare(request: ServeRequest, report: Reporter, dry_run: bool = False) -> ServePlan:
    """Find the model, check that it can be served here, and create vLLM's environment.

    A dry run creates nothing, and leaves out what depends on the state of this machine.
    """
    host = request.settings.get("host", Config().host)
    if not host or "/" in host:
        raise ConfigError(
            f"{host!r} is not an address to listen on", "«--host 127.0.0.1», or 0.0.0.0 for other machines"
        )
    if request.agent and request.agent.pipeline:
        return _with_pipeline(request, request.agent, request.agent.pipeline)
    if request.agent and request.agent.endpoint:
        config = _config_of_agent(request, _WITH_ENDPOINT, "«--endpoint»", "give it to the server that runs there")
        return ServePlan(config, config.name or request.model, request.agent.endpoint)
    engine = _engine(request, report)
    if engine == "vllm" and not dry_run:
        _refuse_large_judge(request)
    weights = models.find(request.model, Path.cwd(), request.system, with_gguf=True)
    if engine == "llamacpp":
        opened.gguf_of(weights)
    if request.agent:
        weights = msgspec.structs.replace(weights, judge=False)  # even a judge calls tools here
    config = settings.configure(engine, request.settings, weights)
    if engine == "vllm" and weights.adapter:
        others = [name for name, _ in inventory.files(weights.adapter)]  # vLLM loads the one file
        for sentence in inventory.of_adapter(weights.adapter, others, weights.folder).sentences():
            report.note(sentence)
    if request.agent:
        settings.turns_and_inputs(config.limit_images)
    name = config.served_name(weights.name)
    published = _published(request, weights, image_ids=engine == "vllm" and config.image_cache > 0)
    if engine != "vllm":
        return ServePlan(config, name, engine, weights, published)
    config = _with_device(config)
    environment = making.find("serve", config.device)
    if not dry_run:
        address.bound_socket(config).close()  # vLLM would report a port in use only once the model is loaded
        gib = settings.weights_gib(weights.folder, config.dtype)
        settings.refuse_unfit(config, weights.name, gib, hardware.find(Path.cwd()))
        making.made(environment, report.send)
    files = user.cache_folder(os.environ) / "serve" / f"{name}-{config.port}"
    recipes = environments.recipes_place if dry_run else environments.recipes_in
    python = environments.interpreter(environment) or environment.python
    place = vllm.Place(weights, published, files, python, recipes(environment))
    own = VllmPlan(config, name, place, files / "server.log")
    return ServePlan(config, name, engine, weights, published, own.hidden() if request.agent else own)


def _engine(request: ServeRequest, report: Reporter) -> Engine:
    engine = settings.choose_engine(request.engine, request.model)
    if only_by_llamacpp(engine, request):
        report.note(f"llama.cpp serves {request.model}: {engine} is not installed")
        return "llamacpp"
    if engine == "transformers" and request.engine is None:
        report.note("vLLM has no build for this system: transformers serves, one request at a time")
    if engine == "vllm" and not request.agent and isinstance(request.settings.get("api_key"), tuple):
        raise UsageError("vLLM takes one «--api-key»", "add «--agent», or leave all but one out")
    return engine


def only_by_llamacpp(engine: Engine, request: ServeRequest) -> bool:
    """Whether a model of the package must be served by llama.cpp: nobody chose an engine, and no other is installed."""
    if request.engine or request.model not in models.embedded() or find_spec("xllamacpp") is None:
        return False
    if engine == "transformers":
        return find_spec("torch") is None
    if find_spec("uv") or request.settings.get("device", "cpu") != "cpu":
        return False
    return engine == "vllm" and environments.interpreter(making.find("serve", "cpu")) is None


def _with_pipeline(request: ServeRequest, agent: Agent, name: str) -> ServePlan:
    """The plan for a pipeline, whose roles are servers that run, or models of this process."""
    of_one_model = {"system": request.system, "protocol": request.protocol, "family": request.family}
    for setting, value in {**of_one_model, "max_tokens": agent.max_tokens}.items():
        if value is not None:
            option = marked(setting)
            raise UsageError(f"{option} does not go with «--pipeline»", "leave one out, or write it to a role")
    config = _config_of_agent(request, _WITH_PIPELINE, "«--pipeline»", "give it to the server of a role")
    turns, _ = settings.turns_and_inputs(config.limit_images)
    default = Choice(
        request.model, agent.endpoint, agent.key, device=config.device, timeout=agent.timeout,
        extra_body=agent.extra_body, thinking=agent.thinking,
    )  # fmt: skip
    setup = Setup(default, SolveConfig(timeout=agent.timeout, max_turns=turns, keep_images=False), offline=True)
    solver = pipelines().set_up(name, agent.roles, setup)
    return ServePlan(config, config.name or solver.name, "pipeline", solver=solver)


def _config_of_agent(request: ServeRequest, allowed: frozenset[str], with_option: str, hint: str) -> Config:
    """The settings of an agent endpoint whose models run elsewhere. Raises UsageError: one is not `allowed`."""
    refused = sorted(request.settings.keys() - allowed)
    if request.engine:
        refused.insert(0, "engine")
    if refused:
        raise UsageError(f"{marked(refused[0])} means nothing with {with_option}", hint)
    config = Config(**request.settings)
    settings.turns_and_inputs(config.limit_images)
    return config


def _published(request: ServeRequest, weights: Weights, image_ids: bool) -> str:
    """The facts that clients get; a judge is asked in plain chat unless a chat protocol was chosen."""
    plain = weights.judge and request.protocol is None
    prompt_setup = opened.prompt_setup_here(weights, request.choice())
    grid = opened.grid_here(weights, prompt_setup)
    # Where the unit of boxes is not known, the protocol is a guess, which is not published.
    protocol = None if plain or prompt_setup.unknown else prompt_setup.chat_protocol
    return settings.published(grid, protocol, image_ids)


def _with_device(config: Config) -> Config:
    return msgspec.structs.replace(config, device=config.device or environments.default_device())


def _refuse_large_judge(request: ServeRequest) -> None:
    """Refuse a judge that does not fit this machine before it is searched for: the hint there is to download it."""
    name = request.model or ""
    judge = models.judges(name, request.system).get(name)
    if judge and judge.gib:
        config = _with_device(Config(**request.settings))
        settings.refuse_unfit(config, name, judge.gib, hardware.find(Path.cwd()))
