"""The package as users get it: sdist to wheel, installed outside the checkout, on every platform we name."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from support.entry import ROOT, Done, Env
from support.loopback import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CACHE = re.compile(r"(^|/)(\.|__pycache__)")

PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.13", "3.14")
TEST_TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema")
OF_THE_LOCAL_BACKEND = [f"tests/backends/test_{name}.py" for name in ("local", "load", "kv_cache", "chatml")]
PACKAGES = {
    "virc_cli": ROOT / "virc_cli",
    **{name: ROOT / "recipes" / name for name in ("virc", "virc_extras", "virc_zoo")},
}


def run(command: Sequence[str | Path], folder: Path, env: Env | None = None) -> Done:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=800)


@cache
def links() -> str:
    """Where wheels lie beside the index, such as the CPU build of torch: uv does not read pip's settings."""
    said = run([sys.executable, "-m", "pip", "config", "get", "global.find-links"], ROOT).stdout
    of_pip = os.environ.get("PIP_FIND_LINKS", said)
    return os.environ.get("UV_FIND_LINKS", ",".join(of_pip.split()))


def uv(*words: str | Path, folder: Path = ROOT) -> str:
    done = run([sys.executable, "-m", "uv", *words], folder, {**os.environ, "UV_FIND_LINKS": links()})
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(folder: Path, *wanted: str) -> Path:
    """The programs of a new environment with the torch of this one, which is linked from uv's cache."""
    uv("venv", "--python", sys.executable, folder / "venv", folder=folder)
    torch = f"torch=={version('torch')}"
    uv("pip", "install", "--python", folder / "venv", torch, *wanted, folder=folder)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout and the wheel built from that sdist, as a release has them."""
    folder = tmp_path_factory.mktemp("release")
    done = run(["bash", ROOT / ".ci/build", folder], ROOT, {**os.environ, "UV_FIND_LINKS": links()})
    assert done.returncode == 0, done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment into which only the wheel was installed, base dependencies only."""
    folder = tmp_path_factory.mktemp("user")
    uv("venv", "--python", sys.executable, folder / "venv", folder=folder)
    uv("pip", "install", "--python", folder / "venv", *built.glob("*.whl"), folder=folder)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def complete(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel, its extra `local` and what runs our tests."""
    (wheel,) = built.glob("*.whl")
    return environment(tmp_path_factory.mktemp("complete"), f"virc[local] @ {wheel.as_uri()}", *TEST_TOOLS)


@pytest.fixture
def bare(tmp_path: Path) -> Env:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}


def shipped(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not CACHE.search(path.relative_to(folder).as_posix())
    }


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    listed = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in listed)
    names = {name for name in listed if ".dist-info/" not in name}
    files = {f"{package}/{file}" for package, folder in PACKAGES.items() for file in shipped(folder)}
    assert names == files


def contents(archive: Path) -> dict[str, bytes]:
    """Each file of an sdist or a wheel, without the folder that all files of an sdist are in."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        files = {member.name.partition("/")[2]: sdist.extractfile(member) for member in sdist}
        return {name: opened.read() for name, opened in files.items() if opened}


def test_the_sdist_holds_pages_licence_and_environment_file(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    expected = {f"{part}/{file}" for part in ("completions", "docs") for file in shipped(ROOT / part)}
    expected |= {file.name for file in ROOT.glob("*.md")} | {
        "LICENSE",
        "CITATION.cff",
        "environment.yml",
        "pyproject.toml",
    }
    assert expected <= contents(sdist).keys()


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_archives_are_small_licensed_and_without_tests_or_copies(kind: str, built: Path) -> None:
    (archive,) = built.glob(kind)
    assert archive.stat().st_size <= 12e6
    files = contents(archive)
    assert not [name for name in files if name.startswith("tests/")]
    large = [hashlib.sha256(data).hexdigest() for data in files.values() if len(data) > 100_000]
    assert len(large) == len(set(large))
    assert any(name.endswith("LICENSE") and data == (ROOT / "LICENSE").read_bytes() for name, data in files.items())
    weights = {name.rpartition("/")[0] for name in files if name.endswith((".safetensors", ".gguf"))}
    assert all(b"Licence: Apache-2.0" in files[f"{folder}/README.md"] for folder in weights)


def test_archives_answer_before_they_are_published(built: Path) -> None:
    env = {**os.environ, "PYTHON": sys.executable}
    done = run(["bash", ROOT / ".ci/try", built.parent], ROOT, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n92\n") == 2


def by_uvx(wheel: str, folder: Path) -> list[str | Path]:
    return [sys.executable, "-m", "uv", "tool", "run", "--from", f"virc[llamacpp] @ {wheel}", "virc"]


def by_environment_file(wheel: str, folder: Path) -> list[str | Path]:
    """What conda would hand to pip, in an environment by uv: conda comes from no index of Python packages."""
    described = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert described.keys() == {"name", "channels", "dependencies"}
    python, pip, of_pip = described["dependencies"]
    assert (python, pip) == (f"python{project['requires-python']}", "pip")
    (wanted,) = of_pip["pip"]
    uv("venv", "--python", sys.executable, folder / "conda", folder=folder)
    uv("pip", "install", "--python", folder / "conda", f"{wanted} @ {wheel}", folder=folder)
    return [folder / "conda" / "bin" / "virc"]


@pytest.mark.parametrize("way", [by_uvx, by_environment_file])
def test_virc_solves_however_the_wheel_was_installed(
    way: Callable[[str, Path], list[str | Path]], built: Path, tmp_path: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    virc = way(wheel.as_uri(), tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = run([*virc, "solve", ROOT / "tests/pictures/triangle.png", "What is m∠B in triangle MBH?"], tmp_path, env)
    assert (done.returncode, done.stdout) == (0, "73\n"), done.stderr


@pytest.mark.smoke
def test_the_wheel_alone_answers_batches_evaluates_plans_and_serves(built: Path, bare: Env, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    uv("venv", "--python", sys.executable, tmp_path / "venv", folder=tmp_path)
    uv(
        "pip",
        "install",
        "--python",
        tmp_path / "venv",
        f"virc[llamacpp,serve,train,data] @ {wheel.as_uri()}",
        folder=tmp_path,
    )
    virc, folder = tmp_path / "venv" / "bin" / "virc", tmp_path / "empty"
    folder.mkdir()
    for words in (
        "data synth --to drawn --count 2",
        "batch drawn/problems.jsonl --to answers.csv",
        "eval drawn/problems.jsonl --model tiny",
        "train tiny --stage instruct --dry-run",
    ):
        done = run([virc, *words.split()], folder, bare)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert len((folder / "answers.csv").read_text().splitlines()) == 3
    serve = [virc, "serve", "tiny", "--engine", "llamacpp", "--port", str(free_port())]
    with subprocess.Popen(serve, cwd=folder, env=bare, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr
        assert any("tiny is ready" in line for line in serving.stderr)
        serving.terminate()


def test_the_installed_wheel_runs_outside_the_checkout(installed: Path, bare: Env, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run([installed / "virc", "--version"], tmp_path, bare).stdout == f"virc {version}\n"
    assert "Exit codes: 0 done" in run([installed / "virc", "--help"], tmp_path, bare).stdout
    listed = run([installed / "virc", "systems", "ls", "--json"], tmp_path, bare).stdout
    assert {"virc", "deepeyes"} <= {each["name"] for each in json.loads(listed)["systems"]}
    where = run([installed / "python", "-c", "import virc; print(virc.__file__)"], tmp_path, bare)
    assert where.stdout.startswith(str(installed.parent))


@pytest.mark.parametrize(("model", "extra"), [((), "llamacpp"), (("--model", "mine"), "local")], ids=["tiny", "mine"])
def test_solve_on_the_base_install_names_the_missing_extra(
    model: tuple[str, ...], extra: str, installed: Path, bare: Env, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (280, 280), "white").save(tmp_path / "picture.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    words = ["solve", "picture.png", "How large is angle A?", *model]
    done = run([installed / "virc", *words], tmp_path, bare)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"pip install 'virc[{extra}] @ file://" in done.stderr
    assert "--endpoint" in done.stderr


def test_the_installed_wheel_solves_a_diagram_of_its_own_with_the_embedded_model(
    complete: Path, bare: Env, tmp_path: Path
) -> None:
    virc, env = complete / "virc", bare | {"OMP_NUM_THREADS": "1"}
    done = run([virc, "data", "synth", "--to", "drawn", "--count", "1", "--split", "heldout"], tmp_path, env)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "drawn" / "problems.jsonl").read_text())
    words = [tmp_path / "drawn" / row["image"], row["question"], "--trace", "trace"]
    done = run([virc, "solve", *words], tmp_path, env)
    assert done.returncode in (0, 8), done.stderr
    trace = json.loads((tmp_path / "trace" / "trace.json").read_text())
    assert (trace["model"], trace["protocol"]["name"]) == ("tiny", "trained")
    assert done.stdout == (f"{trace['answer']}\n" if done.returncode == 0 else "")
    assert ("error: " in done.stderr) == (done.returncode == 8)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert (tmp_path / "trace" / "index.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_the_local_backend_stands_on_both_ends_of_the_transformers_we_allow(
    end: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (oldest,) = re.findall(r'"transformers>=([\d.]+),', (ROOT / "pyproject.toml").read_text())
    if end == "newest":
        python = request.getfixturevalue("complete") / "python"
    elif version("transformers").startswith(f"{oldest}."):
        python = Path(sys.executable)
    else:
        python = environment(tmp_path, "-e", f"{ROOT}[local]", f"transformers=={oldest}.*", *TEST_TOOLS) / "python"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OF_THE_LOCAL_BACKEND], ROOT, env)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_all_extras_resolve_together_to_wheels(platform: str, python: str) -> None:
    target = ("--python-platform", platform, "--python-version", python, "--only-binary", ":all:")
    assert "torch==" in uv("pip", "compile", "pyproject.toml", "--all-extras", *target, "--quiet")


@pytest.mark.parametrize("platform", [*PLATFORMS, "x86_64-apple-darwin", "x86_64-pc-windows-msvc"])
def test_llama_cpp_has_a_wheel_on_every_platform_and_needs_no_torch(platform: str) -> None:
    wheels = ("--only-binary", ":all:", "--python-platform", platform, "--python-version", "3.11")
    pinned = uv("pip", "compile", "pyproject.toml", "--extra", "llamacpp", *wheels, "--quiet")
    assert "xllamacpp==" in pinned
    assert not re.search("^(torch|transformers|numpy|openai)==", pinned, re.MULTILINE)


def test_all_but_torch_stands_on_the_oldest_versions_we_allow(tmp_path: Path) -> None:
    uv("venv", "--python", sys.executable, tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--python", python, "--resolution", "lowest-direct", "-e", ROOT, folder=tmp_path)
    uv("pip", "install", "--python", python, *TEST_TOOLS, "pillow-heif", folder=tmp_path)
    oldest = {"typer": "0.28.0", "msgspec": "0.21.0", "pillow": "12.3.0", "pyyaml": "6.0"}
    frozen = uv("pip", "freeze", "--python", python, folder=tmp_path)
    assert {f"{name}=={version}" for name, version in oldest.items()} <= set(frozen.splitlines())
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    of_numpy = [path for path in ROOT.glob("tests/reasoning/*.py") if "import numpy" in path.read_text()]
    without_torch = ("tests/cli", "tests/reasoning", "tests/solving/traces", *(f"--ignore={path}" for path in of_numpy))
    done = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *without_torch], ROOT, env)
    assert done.returncode == 0, done.stdout[-3000:]
