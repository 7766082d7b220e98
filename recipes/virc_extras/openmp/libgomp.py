"""Loads an OpenMP library of an installed package as libgomp.so.1: torch has that itself, cmeel-libomp LLVM's.

LLVM's defines the same symbols. The loader knows a library by the name inside of it, so that LLVM's needs an alias.
"""

import ctypes
import os
import struct
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

_NAME = "libgomp.so.1"


def load() -> None:
    """Do nothing where the system has it, or where no package has one: what needs it then says so."""
    with suppress(OSError):
        ctypes.CDLL(_NAME)
        return
    if file := _file("torch", "lib"):
        ctypes.CDLL(file)
    elif file := _file("cmeel", "../cmeel.prefix/lib"):
        ctypes.CDLL(file, ctypes.RTLD_GLOBAL)
        memory = os.memfd_create(_NAME)
        os.write(memory, _alias(Path(file).read_bytes()[:64]))
        ctypes.CDLL(f"/proc/self/fd/{memory}")
        os.close(memory)


def _file(package: str, folder: str) -> str | None:
    spec = find_spec(package)  # nothing is imported
    places = spec.submodule_search_locations or () if spec else ()
    return next((str(file) for place in places if (file := Path(place, folder, _NAME)).exists()), None)


def _alias(header: bytes) -> bytes:
    """A library that has the name and no symbols, in ELF for 64 bits; `header`: of one for the same processor."""
    machine, flags = struct.unpack_from("<H", header, 18)[0], struct.unpack_from("<I", header, 48)[0]
    name = f"\0{_NAME}\0".encode()
    at = 64 + 3 * 56  # of the dynamic section, whose last entries are followed by the name
    end = at + 6 * 16
    head = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, flags, 64, 56, 3, 0, 0, 0)  # ET_DYN
    parts = (
        struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, end + len(name), end + len(name), 2**16),  # PT_LOAD, to read and write
        struct.pack("<IIQQQQQQ", 2, 6, at, at, at, end - at, end - at, 8),  # PT_DYNAMIC
        struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # PT_GNU_STACK: the stack is no program
        struct.pack("<12Q", 14, 1, 5, end, 6, end, 10, len(name), 11, 24, 0, 0),  # SONAME, where names are, no symbols
        name,
    )
    return header[:16] + head + b"".join(parts)
