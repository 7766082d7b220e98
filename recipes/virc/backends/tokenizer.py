"""The tokenizer of a model, read by the library tokenizers; torch is not imported."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from virc.backends.checkpoint import read_json
from virc.core.errors import ConfigError
from virc.core.files import contents
from virc.core.text import clause
from virc.families import registry as families

_MAX_BYTES = 256 * 2**20


@lru_cache(1)
def tokenizer(base: Path) -> Any:
    from tokenizers import Tokenizer

    file = base / "tokenizer.json"
    try:
        found = Tokenizer.from_str(contents(file, _MAX_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {clause(error)}") from error
    except Exception as error:  # the library raises nothing more precise
        raise ConfigError(f"{file} is no tokenizer: {clause(error)}") from error
    found.no_truncation()
    found.no_padding()
    for token in families.of(read_json(base / "config.json").get("model_type")).marks.controls:
        if len(found.encode(token, add_special_tokens=False)) != 1:
            raise ConfigError(f"the tokenizer of {base} has no token {token}", "name another model as the base")
    return found
