"""Names of data with {…} in them, which overlays fill with a word each."""

import re
from collections.abc import Mapping

from virc.core.errors import ConfigError


def filled(name: str, variant: Mapping[str, str], setting: str = "data") -> str:
    """A name with its {…} replaced; `setting` names it for people. Raises ConfigError: `variant` lacks a word."""

    def word(match: "re.Match[str]") -> str:
        if match[1] not in variant:
            raise ConfigError(
                f"{setting} is {name!r}, and variant does not say what {match[0]} is",
                f"«--set variant.{match[1]}=WORD»",
            )
        return variant[match[1]]

    return re.sub(r"\{(\w*)\}", word, name)
