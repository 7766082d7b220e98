"""`virc serve --engine llamacpp`: asked by virc and by the official client."""

import base64
import shutil
from pathlib import Path

import openai
import pytest
from support.called import virc
from support.loopback import free_port

from virc.models.registry import EMBEDDED_FOLDER
from virc.serving.start import serve

TRIANGLE = Path(__file__).parents[1] / "pictures/triangle.png"
QUESTION = "What is m∠B in triangle MBH?"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    shutil.copy(EMBEDDED_FOLDER / "mmproj-tiny-F32.gguf", folder / "mmproj-small-F32.gguf")
    return Path(shutil.copy(EMBEDDED_FOLDER / "tiny-F16.gguf", folder / "small-F16.gguf"))


@pytest.mark.integration
def test_a_gguf_file_is_solved_with_by_the_protocol_inside_it(file: Path) -> None:
    done = virc("solve", TRIANGLE, QUESTION, "--model", file, "--json")
    assert done.code == 0, done.err
    said = done.json
    assert (said["answer"], said["protocol"], said["device"]) == ("73", "trained", "llama.cpp")
    assert said["model"] == file.stem


def test_a_dry_run_says_what_would_be_served(file: Path) -> None:
    done = virc("serve", file, "--dry-run", "--port", 8123)
    assert done.code == 0, done.err
    assert "served in this process by llama.cpp" in done.out
    assert str(file) in done.out
    assert virc("serve", file, "--dry-run", "--json").json["engine"] == "llamacpp"
    wrong = virc("serve", file, "--dtype", "float16", "--dry-run")
    assert (wrong.code, "--dtype means nothing" in wrong.err) == (2, True)


@pytest.mark.integration
def test_clients_get_its_protocol_and_its_replies(file: Path) -> None:
    with serve(str(file), engine="llamacpp", port=free_port(), name="small") as server:
        solved = virc("solve", TRIANGLE, QUESTION, "--endpoint", server.url, "--json")
        assert (solved.json["answer"], solved.json["protocol"]) == ("73", "trained"), solved.err
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        assert [model.id for model in client.models.list()] == ["small"]
        url = "data:image/png;base64," + base64.b64encode(TRIANGLE.read_bytes()).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
        asked = {"model": "small", "messages": [{"role": "user", "content": content}], "temperature": 0}
        whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
        assert whole.usage.prompt_tokens > 72
        asked["messages"] = [{"role": "user", "content": "What is this?"}]
        whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
        pieces = client.chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == whole.choices[0].message.content != ""
        asked["messages"] = [{"role": "user", "content": "word " * 40_000}]
        with pytest.raises(openai.BadRequestError, match="context length"):
            client.chat.completions.create(**asked)  # type: ignore[call-overload]
