"""Runs exported packages as servers of NeMo Gym, whose agent asks the scripted server about each row."""

import asyncio
import json
import os
import socket
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import httpx
import uvicorn
from nemo_gym.config_types import BaseServerConfig
from nemo_gym.global_config import NEMO_GYM_CONFIG_DICT_ENV_VAR_NAME
from nemo_gym.server_utils import ServerClient
from omegaconf import OmegaConf
from responses_api_models.vllm_model.app import VLLMModel, VLLMModelConfig

from virc_extras.export.nemo_gym import Agent, AgentConfig, ResourcesConfig

url, count, *modules = sys.argv[1:]
names = ["policy_model", *modules, *(f"{module}_agent" for module in modules)]
sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
ports = {name: each.getsockname()[1] for name, each in sockets.items()}
places = {
    name: {"host": "127.0.0.1", "port": port, "entrypoint": "app.py", "name": name} for name, port in ports.items()
}
known = OmegaConf.create({name: {"servers": {"server": place}} for name, place in places.items()})
os.environ[NEMO_GYM_CONFIG_DICT_ENV_VAR_NAME] = OmegaConf.to_yaml(known)  # as `gym env start` hands it to servers
client = ServerClient(head_server_config=BaseServerConfig(host="127.0.0.1", port=1), global_config_dict=known)


def server(name: str, kind: type, config: object) -> uvicorn.Server:
    app = kind(config=config, server_client=client).setup_webserver()
    return uvicorn.Server(uvicorn.Config(app, log_level="error"))


def servers_of(module: str) -> dict[str, uvicorn.Server]:
    agent = f"{module}_agent"
    asked = {
        "resources_server": {"type": "resources_servers", "name": module},
        "model_server": {"type": "responses_api_models", "name": "policy_model"},
    }
    return {
        module: server(module, import_module(module).Resources, ResourcesConfig(domain="agent", **places[module])),
        agent: server(agent, Agent, AgentConfig(**places[agent], **asked)),
    }


async def serve(servers: dict[str, uvicorn.Server]) -> None:
    """In one event loop, as the connections of Gym belong to one."""
    await asyncio.gather(*(each.serve(sockets=[sockets[name]]) for name, each in servers.items()))


model = {"base_url": url, "api_key": "none", "model": "virc-scripted", "return_token_id_information": False}
policy = VLLMModelConfig(**places["policy_model"], **model, uses_reasoning_parser=False)
servers = {"policy_model": server("policy_model", VLLMModel, policy)}
for module in modules:
    servers |= servers_of(module)
threading.Thread(target=lambda: asyncio.run(serve(servers)), daemon=True).start()
while not all(each.started for each in servers.values()):
    time.sleep(0.05)
found = []
for module in modules:
    for line in import_module(module).lines().splitlines()[: int(count)]:
        done = httpx.post(f"http://127.0.0.1:{ports[f'{module}_agent']}/run", json=json.loads(line), timeout=None)
        said = done.json() if done.is_success else {}
        terms = {name: float(value) for name, value in said.items() if isinstance(value, int | float)}
        errors = [] if done.is_success else [done.text]
        row = json.loads(line)["row"]
        found.append({"module": module, "row": row, "terms": terms, "reward": said.get("reward"), "errors": errors})
Path("found.json").write_text(json.dumps(found))
