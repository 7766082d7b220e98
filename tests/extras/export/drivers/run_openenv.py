"""Serves exported packages with OpenEnv, and has its client reply to each row as the scripted server says."""

import json
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from openenv.core import GenericEnvClient

from virc_extras.export.environment import of_package
from virc_extras.export.openenv import app_of

url, count, *modules = sys.argv[1:]
app = FastAPI()
for module in modules:
    app.mount(f"/{module}", import_module(module).app)
Path("none.json").write_text("[]")
app.mount("/none", app_of(of_package(import_module(modules[0]).__file__), "none.json"))
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]

found = []
for module in modules:
    with GenericEnvClient(base_url=f"http://127.0.0.1:{port}/{module}").sync() as client:
        for row in range(int(count)):
            seen, errors = client.reset(row=row), []
            while not seen.done and not errors:
                body = {"model": "virc-scripted", "messages": seen.observation["messages"], "stream": False}
                said = httpx.post(f"{url}/chat/completions", json=body).json()["choices"][0]["message"]["content"]
                try:
                    seen = client.step({"text": said})
                except Exception as error:
                    errors.append(str(error))
            terms = dict(seen.observation.get("terms", {}))
            found.append({"module": module, "row": row, "terms": terms, "reward": seen.reward, "errors": errors})
with GenericEnvClient(base_url=f"http://127.0.0.1:{port}/none").sync() as client:
    try:
        client.reset()
    except Exception as error:
        Path("lacking.json").write_text(json.dumps([str(error)]))
Path("found.json").write_text(json.dumps(found))
