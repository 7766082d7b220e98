"""How the hub of `hub_server.py` takes uploads: the requests of huggingface_hub's `_commit_api.py` and `lfs.py`."""

import base64
import fnmatch
import hashlib
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from download.hub_server import Hub, Request

_COMMIT = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/main")
_BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+?)\.git/info/lfs/objects/batch")


class Granted(NamedTuple):
    """What is answered as JSON, and what then changes."""

    value: object
    then: Callable[[], object] | None = None
    code: int = 200


class Refused(NamedTuple):
    """The hub's refusal."""

    code: int
    message: str
    error: str | None = None


def answer(hub: "Hub", request: "Request") -> Granted | Refused:
    """What a POST is answered."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token not in hub.tokens | hub.writers.keys():
        return Refused(401, "Invalid credentials in Authorization header" if token else "Invalid username or password.")
    path = request.path.partition("?")[0]
    if path == "/api/validate-yaml":
        faults = [{"message": each} for each in hub.faults_of_card]
        return Granted({"errors": faults, "warnings": []}, code=400 if faults else 200)
    if path == "/api/repos/create":
        request.on = "create"
        return _create(hub, request, token)
    match = _COMMIT.fullmatch(path) or _BATCH.fullmatch(path)
    assert match, path
    request.name = f"datasets/{match[2]}" if (match[1] or "").startswith("datasets") else match[2]
    request.on = match[3] if match.re is _COMMIT else "lfs"
    if hub.repo(request.name) is None:
        return Refused(404, "Repository not found", "RepoNotFound")
    if match[2].partition("/")[0] not in hub.writers.get(token, ()):
        return Refused(403, "you may read this repository alone")
    return {"preupload": _preupload, "commit": _commit, "lfs": _batch}[request.on](hub, request)


def store(hub: "Hub", request: "Request") -> Granted | Refused:
    """Take the content of a large file, whole alone."""
    sha256 = request.name = request.path.rpartition("/")[2]
    if hashlib.sha256(request.body).hexdigest() != sha256:
        return Refused(400, "the content is not whole")
    return Granted({}, lambda: hub.stored.__setitem__(sha256, request.body))


def _create(hub: "Hub", request: "Request", token: str) -> Granted | Refused:
    asked = json.loads(request.body)
    repo = f"{asked['organization']}/{asked['name']}"
    key = f"datasets/{repo}" if asked["type"] == "dataset" else repo
    request.name = key
    if asked["organization"] not in hub.writers.get(token, ()):
        return Refused(403, f"you don't have the rights to create a {asked['type']} under this namespace")
    if hub.repo(key):
        return Granted({"error": "You already created this repo", "url": f"{hub.url}/{key}"}, code=409)
    private = asked.get("visibility", "private" if asked.get("private") else "public") == "private"
    return Granted({"url": f"{hub.url}/{key}", "name": repo}, lambda: hub.create(key, private, token))


def _preupload(hub: "Hub", request: "Request") -> Granted:
    there = hub.entries(request.name)
    files = []
    for file in json.loads(request.body)["files"]:
        name, large = file["path"], hub.is_large(file["path"], file["size"])
        known = there.get(name)
        oid = known and (known.sha256 if known.large else known.git)
        mode = "lfs" if large else "regular"
        files.append({"path": name, "uploadMode": mode, "shouldIgnore": _is_one(name, hub.ignored), "oid": oid})
    return Granted({"files": files})


def _is_one(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, each) for each in patterns)


def _batch(hub: "Hub", request: "Request") -> Granted:
    objects = []
    for asked in json.loads(request.body)["objects"]:
        told = dict(asked)
        if asked["oid"] not in hub.stored:
            told["actions"] = {"upload": {"href": f"{hub.storage_url}/upload/{asked['oid']}"}}
        objects.append(told)
    return Granted({"transfer": "basic", "objects": objects})


def _commit(hub: "Hub", request: "Request") -> Granted | Refused:
    files: dict[str, Any] = hub.held(request.name)
    for line in request.body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        if operation["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif operation["key"] == "deletedFile":
            del files[value["path"]]
        elif operation["key"] == "lfsFile":
            if value["oid"] not in hub.stored:
                return Refused(400, "a large file was not uploaded")
            files[value["path"]] = hub.stored[value["oid"]]
    files = {name: content for name, content in files.items() if not _is_one(name, hub.lost)}
    told = {"commitUrl": f"{hub.url}/{request.name}/commit/new", "commitOid": "0" * 40}
    return Granted(told, lambda: hub.put(request.name, files))
