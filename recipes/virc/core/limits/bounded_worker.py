"""The program of the processes that `bounded` asks: one question per line, one answer per line.

It is started by its path and imports nothing of this package. What it reads is hostile: a question may loop, take all
memory or end the interpreter; the process ends then, and another one is started.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

_MAX_BYTES = 2**29  # of address space
_MAX_MESSAGE = 160  # characters
_TRIED: tuple[Any, ...] = ({}, [], "", 0, None)
"""Values that each new schema is tried on: most of those that do not end, or take too long, do so on one."""


def main() -> None:
    """Answer each question within its seconds of CPU time; SIGPROF, which has no handler, ends the process else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    answers, sys.stdout = sys.stdout, sys.stderr
    if sys.platform != "win32":
        import resource

        os.nice(5)  # the parent's other clients come first
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    functions: dict[str, Callable[..., object]] = {
        "fault": lambda schema: _validator(schema)[1],
        "misfit": _misfit,
        "find": _find,
    }
    for line in sys.stdin:
        if not line.startswith('["find"'):
            import jsonschema  # type: ignore[import-untyped]  # noqa: F401 - before the question's time begins
        name, seconds, *arguments = json.loads(line)  # in a time that its length bounds
        _alarm(seconds)
        began = time.process_time()
        try:
            answer = functions[name](*arguments)
        except MemoryError:
            return
        _alarm(0)
        print(json.dumps((answer, time.process_time() - began)), file=answers, flush=True)


def _alarm(seconds: float) -> None:
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _misfit(schema: str, value: Any) -> str | None:
    try:
        error = next(_validator(schema)[0].iter_errors(value), None)
    except MemoryError:
        raise
    except RecursionError:
        return "it is too deep"
    except Exception as failure:  # a validator that was written for sane schemas may fail in any way
        return f"it cannot be validated against the schema: {type(failure).__name__}"
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    cut = error.message if len(error.message) <= _MAX_MESSAGE else f"{error.message[:_MAX_MESSAGE]}..."
    return f"{place}: {cut}" if place else cut


def _find(pattern: str, text: str) -> list[str | None] | None:
    return [found[0], *found.groups()] if (found := re.search(pattern, text)) else None


@lru_cache(32)
def _validator(text: str) -> tuple[Any, str | None]:
    """Return what validates values by a schema, and what is wrong with that. Nothing is loaded for a reference."""
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=REGISTRY)
        root = DRAFT202012.create_resource(schema)
        for reference, resolver in _references(root, REGISTRY.resolver_with_root(root)):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                return None, f"{reference[:_MAX_MESSAGE]!r} refers to what is not in it"
        for value in _TRIED:
            validator.is_valid(value)
    except MemoryError:
        raise
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        return None, error.message[:_MAX_MESSAGE] + (f", at {place}" if place else "")
    except RecursionError:
        return None, "it refers to itself without an end, or is too deep"
    except Exception as failure:
        return None, f"it cannot be read: {type(failure).__name__}"
    return validator, None


def _references(resource: Any, resolver: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(resource.contents, dict):
        references = (resource.contents.get(keyword) for keyword in ("$ref", "$dynamicRef"))
        yield from ((reference, resolver) for reference in references if isinstance(reference, str))
    for each in resource.subresources():
        yield from _references(each, resolver.in_subresource(each))


if __name__ == "__main__":
    main()
