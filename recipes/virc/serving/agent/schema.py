"""JSON schemas of clients: nothing is loaded for one, and none takes more than its share of CPU time."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.core.limits import bounded
from virc.serving.chat_request import RefusedError

_FENCED = ("```json", "```")


class Schema:
    """A JSON schema (draft 2020-12) that answers are held against.

    Args:
        value: as the client sent it.
        param: the part of the request that it comes from.
        check: called before a value is held against it; what it raises ends that.
        share: CPU time of all schemas of the request.

    Raises:
        RefusedError: it is no JSON schema, refers to what is not in it or to itself without an end, or is too costly.
    """

    def __init__(self, value: Mapping[str, Any], param: str, check: Callable[[], None], share: bounded.Share) -> None:
        self.value, self._param, self._check, self._share = value, param, check, share
        check()
        if fault := bounded.schema_fault(value, share):
            raise self._refused(fault)

    def fitting(self, text: str) -> str | None:
        """The JSON in a text, where it fits; None: there is none that does.

        Raises:
            RefusedError: it takes too long to tell.
        """
        opening, closing = _FENCED
        text = text.strip().removeprefix(opening).removesuffix(closing).strip()
        self._check()
        try:
            found = msgspec.json.decode(text)
            return None if bounded.misfit(self.value, found, self._share) else json.dumps(found, ensure_ascii=False)
        except (ValueError, RecursionError):
            return None
        except bounded.CostlyError as error:
            raise self._refused(error.message) from None

    def filled(self, answer: str) -> str | None:
        """An answer as JSON where only one property can take it: no model has to write it again; else None."""
        properties = self.value.get("properties")
        if (whole := self.fitting(answer)) is not None:
            return whole
        if not isinstance(properties, dict) or len(properties) != 1:
            return None
        values: list[Any] = [answer]
        with suppress(ValueError, RecursionError):
            values.append(msgspec.json.decode(answer.strip().removesuffix("°")))
        written = (json.dumps({name: value}, ensure_ascii=False) for name in properties for value in values)
        return next((text for text in written if self.fitting(text) is not None), None)

    def _refused(self, fault: str) -> RefusedError:
        return RefusedError(f"{self._param}: this is no JSON schema that can be used: {fault[:300]}", self._param)
