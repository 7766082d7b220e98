"""JSON schemas of clients: nothing is fetched for one, and none may take longer than its problem."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.serving.chat_request import RefusedError

_FENCED = ("```json", "```")
_REFS = ("$ref", "$dynamicRef")  # a few of them can double the work with each level


class Schema:
    """A JSON schema (draft 2020-12) that answers are held against, but for `pattern`, of which a match may never end.

    Args:
        value: as the client sent it.
        param: the part of the request that it comes from.
        check: called again and again while a value is held against it; what it raises ends that.

    Raises:
        RefusedError: it is no JSON schema, or has `patternProperties`.
    """

    def __init__(self, value: Mapping[str, Any], param: str, check: Callable[[], None]) -> None:
        from jsonschema import Draft202012Validator, SchemaError, validators  # type: ignore[import-untyped]
        from referencing import Registry

        self.value, self._param = value, param
        try:
            Draft202012Validator.check_schema(value)
        except SchemaError as error:
            raise RefusedError(f"{param}: this is no JSON schema: {error.message[:200]}", param) from None
        except RecursionError:
            raise RefusedError(f"{param}: the JSON schema is too deep", param) from None
        if '"patternProperties":' in json.dumps(value):
            raise RefusedError(f"{param}: patternProperties cannot be honoured by this server", param)

        def checked(keyword: str) -> Callable[..., Iterator[Any]]:
            def follow(*words: Any) -> Iterator[Any]:
                check()
                yield from Draft202012Validator.VALIDATORS[keyword](*words) or ()

            return follow

        own = {keyword: checked(keyword) for keyword in _REFS} | {"pattern": lambda *_: None}
        self._validator = validators.extend(Draft202012Validator, own)(value, registry=Registry())

    def fitting(self, text: str) -> str | None:
        """The JSON in a text, where it fits; None: there is none that does.

        Raises:
            RefusedError: the schema refers to what is not in it.
        """
        from referencing.exceptions import Unresolvable

        opening, closing = _FENCED
        text = text.strip().removeprefix(opening).removesuffix(closing).strip()
        try:
            found = msgspec.json.decode(text)
            fits = self._validator.is_valid(found)
        except (ValueError, RecursionError):
            return None
        except Unresolvable:
            raise RefusedError(f"{self._param}: the JSON schema refers to what is not in it", self._param) from None
        return json.dumps(found, ensure_ascii=False) if fits else None

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
