"""This user's defaults: where they are kept, what may stand in them, and which of several values wins."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, get_args, get_type_hints

import msgspec
from msgspec import Meta

from virc.config import yaml as plain_yaml
from virc.config.taken import edges, left
from virc.core.errors import ConfigError, UsageError, VircError, errors_as
from virc.core.files import expanded
from virc.core.options import marked
from virc.core.text import did_you_mean

ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "model": ("VIRC_MODEL",),
    "endpoint": ("VIRC_ENDPOINT",),
    "api_key": ("VIRC_API_KEY", "OPENAI_API_KEY"),
    "headers": ("VIRC_HEADERS",),
    "extra_body": ("VIRC_EXTRA_BODY",),
}
"""Setting -> the variables it is read from, the first that is set and not empty."""
NO_ENDPOINT = "none"
"""As the endpoint, of an option or the environment: no server is used, whatever the config file names."""

_SECRET = re.compile(r"(^|(?<!max)[-_.])(api_?key|key|token|secret|password)s?$", re.IGNORECASE)
"""Names of settings whose value nobody would want in a file."""

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", description="one line of text")]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s/@]+(/\S*)?\Z", description="a URL like http://localhost:8000/v1")]
Secret = Annotated[str, Meta(description="a key")]  # refused where it is used, by a sentence that shows none of it
Device = Annotated[str, Meta(pattern=r"^(cpu|mps|cuda(:\d+)?)\Z", description="cpu, cuda, cuda:N or mps")]
Pixels = Annotated[int, Meta(gt=0, le=2**31, description="a whole number of pixels, 1 or more")]
Tokens = Annotated[int, Meta(ge=1, le=2**20, description="a whole number of tokens, 1 or more")]
Seconds = Annotated[float, Meta(gt=0, le=1e6, description="a number of seconds above 0, at most a million")]


Fields = Annotated[str, Meta(pattern=r"(?s)^\s*\{.*\}\s*\Z", description="a JSON object")]
Switch = Annotated[str, Meta(pattern=r"^(on|off)\Z", description="on or off")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set once. None: for model the embedded one, for device the best found, else no limit.

    `num_ctx` is the context that Ollama is asked for. `extra_body` has further fields of requests to the endpoint, and
    `thinking` says whether its model thinks; None: as the server has it. `api_key` and `headers` of requests to the
    endpoint, one a line, come from the environment only and are never kept in the file.
    """

    model: Text | None = None
    endpoint: Url | None = None
    system: Text | None = None
    device: Device | None = None
    max_pixels: Pixels | None = None
    max_tokens: Tokens | None = None
    family: Text | None = None
    timeout: Seconds | None = None
    num_ctx: Tokens | None = None
    extra_body: Fields | None = None
    thinking: Switch | None = None
    api_key: Secret | None = None
    headers: Secret | None = None


KEPT = tuple(key for key in Settings.__struct_fields__ if key not in ("api_key", "headers"))
"""Keys of the config file."""


_OF_REQUESTS = ("extra_body", "thinking")
Value = str | int | float


class Setting(msgspec.Struct, frozen=True):
    """A value and where it comes from: `flag`, `env NAME`, `file` or `default`."""

    value: Value | None
    source: str


def config_path(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where the config file is: `VIRC_CONFIG`, else `virc/config.yaml` in the platform's folder for settings."""
    if env.get("VIRC_CONFIG"):
        return expanded(env["VIRC_CONFIG"])
    if platform == "win32":
        folder = Path(env.get("APPDATA") or home(env) / "AppData" / "Roaming")
    elif platform == "darwin":
        folder = home(env) / "Library" / "Application Support"
    else:
        given = env.get("XDG_CONFIG_HOME", "")
        folder = Path(given) if PurePath(given).is_absolute() else home(env) / ".config"
    return folder / "virc" / "config.yaml"


def cache_folder(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """This user's cache: `VIRC_CACHE`, else `virc` in the platform's folder for caches."""
    instead = "VIRC_CACHE=FOLDER"
    if env.get("VIRC_CACHE"):
        return expanded(env["VIRC_CACHE"]).absolute()
    if platform == "win32":
        return Path(env.get("LOCALAPPDATA") or home(env, instead) / "AppData" / "Local") / "virc" / "Cache"
    if platform == "darwin":
        return home(env, instead) / "Library" / "Caches" / "virc"
    given = Path(env.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else home(env, instead) / ".cache") / "virc"


def home(env: Mapping[str, str], instead: str = "VIRC_CONFIG=FILE") -> Path:
    """This user's home folder; without one, a ConfigError names the variable that can be set `instead`."""
    found = Path(env["HOME"]) if env.get("HOME") else expanded("~")
    if found == Path("~"):
        raise ConfigError("there is no home folder to keep files in", f"export {instead}")
    return found


def read_settings(path: Path) -> dict[str, Value]:
    """Read and check the config file; a missing one is empty, a key without a value is left out.

    Raises:
        ConfigError: it cannot be read, or a key is unknown, a secret, or has a value of the wrong kind.
    """
    content = plain_yaml.read_mapping(path, is_optional=True)
    for key in content:
        check_key(key, f" in {path}")
    return {key: check_setting(key, value, f"{key} in {path}") for key, value in content.items() if value is not None}


def check_key(key: str, place: str = "") -> None:
    """Refuse a key that the config file does not take: an unknown one, or a secret."""
    if key in KEPT:
        return
    if _SECRET.search(key):
        raise ConfigError(f"{key}{place}: secrets are not kept in files", "«export VIRC_API_KEY=...»")
    raise ConfigError(f"unknown key {key!r}{place}", did_you_mean(key, KEPT))


def check_setting(key: str, value: object, name: str, error: type[VircError] = ConfigError) -> Value:
    """A value as the type of its setting: text becomes a number where one is meant.

    Args:
        name: what the error calls the setting, e.g. `--timeout`.
        error: class to raise.
    """
    kind = get_args(get_type_hints(Settings, include_extras=True)[key])[0]  # every field is `kind | None`
    textual = kind.__origin__ is str
    if isinstance(value, str) and not textual:
        value = value.replace("_", "")  # 1_000, which YAML reads and Python's numbers allow
    try:
        converted: Value = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as refused:
        if isinstance(value, str) and kind is Url and names_user(value):
            raise error(f"{name} must hold no user and password", "«export VIRC_API_KEY=...»") from None
        hint = "put the value in quotes" if textual and isinstance(value, bool | int | float) else None
        message = f"{name} must be {kind.__metadata__[0].description}, not {_shortened(value)}"
        if key == "endpoint" and value == NO_ENDPOINT:
            hint = "virc config unset endpoint; of one command: «--endpoint none»"
        elif key == "endpoint" and re.fullmatch(r"[\w.-]+(:\d+)?(/[\w./-]*)?", str(value)):
            address = str(value).rstrip("/")
            hint = f"{name} http://{address}" + ("" if "/" in address else "/v1")
        raise error(message, hint) from refused
    return converted


def names_user(url: str) -> bool:
    """Whether there is a user, and perhaps a password, before the host."""
    return bool(re.match(r"\s*(\w+:)?/*[^/?#]*@", url))


def _shortened(value: object) -> str:
    if isinstance(value, str | int | float):
        return repr(value)[:80]
    return f"a {'list' if isinstance(value, list) else type(value).__name__}"


def resolve(flags: Mapping[str, Value | None], env: Mapping[str, str], file: Mapping[str, Value]) -> dict[str, Setting]:
    """Find every setting: flag (None: not given), then environment, then file, then default.

    Raises:
        UsageError: a flag has a wrong value.
        ConfigError: a variable has a wrong value.
    """
    return {key: _resolved(key, flags.get(key), env, file) for key in Settings.__struct_fields__}


def chosen(flags: Mapping[str, Value | None] = {}) -> dict[str, Setting]:
    """Every setting of this process, by flags, its environment and this user's file; errors as of both readers."""
    return resolve(flags, os.environ, read_settings(config_path(os.environ)))


_OF_OTHERS = re.compile(r"_KEY_|_SERVICE_(HOST|PORT)|^VIRC_(\w+_)?PORT(_\d+_(TCP|UDP)|$)")
"""Keys of judges, and what Kubernetes sets in each pod where a service is called virc."""


def unread_variables(env: Mapping[str, str]) -> tuple[str, str] | None:
    """The sentence and the hint on variables whose names begin like ours, and are none; None: there are none."""
    ours = {name: text for name, text in env.items() if name.startswith("VIRC_") and not _OF_OTHERS.search(name)}
    if not (names := left("variable", ours, ())):
        return None
    key, known = names[0].removeprefix("VIRC_").lower(), edges()["variable"].harmless
    hint = f"virc config set {key} VALUE" if key in KEPT else did_you_mean(names[0], known, "virc config show")
    return f"not read, of environment variables: {', '.join(names)}", hint


def _resolved(key: str, flag: Value | None, env: Mapping[str, str], file: Mapping[str, Value]) -> Setting:
    if key == "endpoint" and flag == NO_ENDPOINT:
        return Setting(None, "flag")
    if flag is not None:
        return Setting(check_setting(key, flag, marked(key), UsageError), "flag")
    for variable in ENVIRONMENT.get(key, ()):
        if key == "endpoint" and variable in env and env[variable].strip() in ("", NO_ENDPOINT):
            return Setting(None, f"env {variable}")
        if text := env.get(variable, "").strip():  # a file with Windows line ends leaves a \r
            return Setting(check_setting(key, text, variable), f"env {variable}")
    if key in file:
        return Setting(file[key], "file")
    return Setting(getattr(Settings(), key), "default")


def values(resolved: Mapping[str, Setting]) -> Settings:
    return Settings(**{key: setting.value for key, setting in resolved.items()})  # type: ignore[arg-type]


def check_endpoint(found: Mapping[str, Setting], endpoint: object) -> None:
    """Raise UsageError: a flag is of requests to an endpoint, and there is none."""
    if not endpoint and (given := next((name for name in _OF_REQUESTS if found[name].source == "flag"), None)):
        raise UsageError(f"--{given.replace('_', '-')} is of requests to an endpoint", "name one: «--endpoint URL»")


def store(path: Path, key: str, text: str) -> Value:
    """Set one key of the config file, from text as typed; the file is made if need be. Returns the value."""
    check_key(key)
    value = check_setting(key, text, key)
    _write(path, plain_yaml.changed(plain_yaml.read_text(path), key, value))
    return value


def remove(path: Path, key: str) -> None:
    """Take one key out of the config file; also one that `read` refuses."""
    content = plain_yaml.read_mapping(path, is_optional=True)
    if key not in content:
        raise ConfigError(f"{key} is not set in {path}", did_you_mean(key, content) if content else None)
    _write(path, plain_yaml.changed(plain_yaml.read_text(path), key, None))


def _write(path: Path, text: str) -> None:
    """Replace the file in one step; through a link, the file it leads to."""
    path = path.resolve()
    with errors_as(ConfigError, f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 (a handle, not a path)
                file.write(text)
            if path.exists():
                Path(name).chmod(path.stat().st_mode)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
