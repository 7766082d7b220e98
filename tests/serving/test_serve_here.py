"""`virc serve --engine transformers`: what it says, answers and leaves behind."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from support.called import virc
from support.loopback import free_port
from support.real_server import VIRC

from virc.core.extras import install

HERE = ("serve", "tiny", "--engine", "transformers", "--device", "cpu")


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "virc.serving.in_process", raising=False)  # other tests have imported it
    monkeypatch.delattr("virc.serving.in_process", raising=False)
    done = virc(*HERE, "--port", free_port())
    assert done.code == 4
    assert "needs fastapi and uvicorn" in done.err
    assert f"hint: {install('local', 'serve')}" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_answers_and_a_signal_ends_it_in_the_midst_of_a_reply(number: signal.Signals, code: int) -> None:
    port = free_port()
    words = (*HERE, "--port", str(port), "--json", "--api-key", "sesame", "--max-model-len", "4096")
    process = subprocess.Popen([*VIRC, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {
            "schema": "virc.serve/1", "url": f"http://127.0.0.1:{port}/v1", "model": "tiny", "log": None, "error": None,
        }  # fmt: skip
        headers = {"Authorization": "Bearer sesame", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{port}/v1"
        with urllib.request.urlopen(urllib.request.Request(f"{url}/models", None, headers)) as answer:
            assert json.loads(answer.read())["data"][0]["max_model_len"] == 4096
        body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "What is it?"}]}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            answer.read(200)
            process.send_signal(number)
            assert process.wait(240) == code
        _, err = process.communicate()
        assert "Traceback" not in err
        assert ("error:" in err, "tiny is served no more" in err) == (False, True)
    finally:
        process.kill()
        process.communicate()
