"""Somebody's own vLLM, the real one on the CPU, started by hand as its documentation says: no `virc serve` about it."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from backends import tiny_factory
from PIL import Image
from support.called import Done, virc
from support.engine_python import code
from support.loopback import free_port
from support.servers import dead_url

from virc.backends.interface import Sampling
from virc.backends.local import load
from virc.engines import environment as engines
from virc.envs import environment as environments
from virc.envs import making
from virc.families import registry as families
from virc.models.chat_protocol import read_protocol, written
from virc.models.load import Choice, open_model
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Ask, Reply, Session
from virc.tools import registry as tools

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PICTURE = Path(__file__).resolve().parents[1] / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
}


KINDS = [kind for kind in families.run_here() if kind != "ovis2"]  # of which vLLM 0.32 reads no pictures
RECURRENT = ("qwen3_5", "qwen3_5_moe", "minicpmv4_6", "minicpmv4_7")  # computed in bfloat16 alone on a CPU


@contextmanager
def vllm(folder: Path, log: Path, *words: str) -> Iterator[str]:
    """The address of a vLLM that serves a folder, when it lists its model."""
    engine = environments.interpreter(making.find("serve", "cpu"))
    assert engine, "virc env create serve --device cpu"
    url = dead_url()
    port = url.split(":")[2].removesuffix("/v1")
    command = [
        str(engine), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", port,
        "--dtype", "float32", "--limit-mm-per-prompt", '{"image": 17}', *words,
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **SETTINGS}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(url, lambda: process.poll() is not None, log)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, has_ended: Callable[[], bool], log: Path) -> None:
    for _ in range(600):
        assert not has_ended(), log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


PARSED = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A vLLM under two names, and the weights of tiny in it with what `virc download` would leave beside them."""
    place = tmp_path_factory.mktemp("vllm")
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, place / "weights"))
    with vllm(folder, place / "log", "--served-model-name", "ViRC", "m", *PARSED) as url:
        yield url, folder


@pytest.fixture
def asked(served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Solves a problem by the endpoint."""
    for name in ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: virc("solve", "--endpoint", served[0], *words, PICTURE, QUESTION)


def test_virc_is_asked_by_what_lies_beside_the_weights_that_vllm_names(
    served: tuple[str, Path], asked: Callable[..., Done], tmp_path: Path
) -> None:
    _, folder = served
    found = asked("--model", "ViRC", "--json").json
    assert (found["answer"], found["protocol"]) == ("73", "trained")
    assert found["calls"]["crop_image"] == 3
    assert str(folder / FILE_NAME) in found["protocol_from"]
    elsewhere = (folder / FILE_NAME).rename(tmp_path / "elsewhere.json")
    done = asked("--model", "ViRC")
    elsewhere.rename(folder / FILE_NAME)
    assert done.code == 3
    assert f"virc download ViRC-7B --include {FILE_NAME}" in done.err


@pytest.mark.parametrize("reading", ["strict", "lenient"])
def test_calls_that_vllm_parses_itself_are_carried_out(
    reading: Literal["strict", "lenient"], served: tuple[str, Path], asked: Callable[..., Done], tmp_path: Path
) -> None:
    own = read_protocol(served[1] / FILE_NAME)
    schemas = tuple(dict(schema) for schema in tools.schemas(own.tools))
    told = msgspec.structs.replace(own, reading=reading, schemas=schemas)
    (tmp_path / "told.json").write_bytes(written(told))
    done = asked("--model", "m", "--protocol", tmp_path / "told.json")
    # What tiny makes of a history that vLLM words differently is another matter.
    assert "-> crop 84,70–168,154 of image 0: image 1\n" in done.err


@pytest.fixture(scope="module")
def forking() -> Iterator["subprocess.Popen[str]"]:
    engine = environments.interpreter(making.find("serve", "cpu"))
    command = [str(engine), str(Path(__file__).with_name("vllm_child.py"))]
    env = {**os.environ, **engines.environment(code()), **SETTINGS, "VLLM_WORKER_MULTIPROC_METHOD": "fork"}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@contextmanager
def forked(forking: "subprocess.Popen[str]", folder: Path, log: Path, *words: str) -> Iterator[str]:
    """As `vllm`, within seconds."""
    port = free_port()
    options = ["--model", str(folder), "--port", str(port), "--enforce-eager", "--limit-mm-per-prompt", '{"image": 17}']
    assert forking.stdin
    assert forking.stdout
    forking.stdin.write(json.dumps([str(log), *options, *words]) + "\n")
    forking.stdin.flush()
    process = int(forking.stdout.readline())
    try:
        wait_for(f"http://127.0.0.1:{port}/v1", lambda: not Path(f"/proc/{process}/exe").exists(), log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process, signal.SIGKILL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_reads_two_pictures_and_a_crop_of_the_second_as_in_this_process(
    kind: str, forking: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    folder = tiny_factory.build(tmp_path / kind, kind, for_vllm=True)
    family = families.by_model_type(kind)
    assert family
    here, dtype = load(folder, "cpu", stock=True), "bfloat16" if kind in RECURRENT else "float32"
    pictures = [Image.new("RGB", size, "white") for size in ((300, 200), (500, 333))]
    name, place = ("image_zoom_in_tool", "img_idx") if family.system else ("crop_image", "image_index")
    with (
        forked(forking, folder, tmp_path / "log", "--dtype", dtype) as url,
        open_model(Choice(endpoint=url, family=family.name)) as model,
    ):
        session = Session(model.chat_protocol, "What is it?", pictures, here.grid, tools=tools.known())
        sides = (1000, 1000) if family.coordinates == "thousand" else session.images[1].size
        box = {next(iter(family.arguments), "bbox_2d"): [sides[0] // 2, sides[1] // 2, *sides], place: 1}
        call = {"name": name, "arguments": box | ({"label": "it"} if family.system else {})}
        for count in (2, 3):
            ask = session.next()
            assert isinstance(ask, Ask)
            assert len(ask.images) == count
            for sampling in (Sampling(max_tokens=4), Sampling(1.0, 0.9, 20, 4, seed=1)):
                read, drawn = (each.reply(ask, sampling) for each in (model.backend, here))
                assert read.prompt_tokens == drawn.prompt_tokens
            session.feed(Reply(f"<tool_call>{json.dumps(call)}</tool_call>"))
