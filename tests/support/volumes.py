"""Archives in volumes, as `zip -s` writes them."""

import io
import struct
import zipfile
from itertools import pairwise
from pathlib import Path


def in_volumes(folder: Path, *ends: int) -> Path:
    """An archive of six files as `zip -s` writes it: a mark first, and places counted in the volume of each file."""
    whole = io.BytesIO(b"PK\7\x08")
    whole.seek(0, io.SEEK_END)
    with zipfile.ZipFile(whole, "a") as archive:
        for at in range(6):
            archive.writestr(f"{at}.txt", str(at) * 100)
    data, starts = bytearray(whole.getvalue()), [0, *ends]
    end = data.rindex(b"PK\5\6")
    place = directory = struct.unpack_from("<I", data, end + 16)[0]
    volume_of = lambda offset: max(at for at, start in enumerate(starts) if start <= offset)  # noqa: E731
    while data[place : place + 4] == b"PK\1\2":
        name, extra, comment = struct.unpack_from("<HHH", data, place + 28)
        offset = struct.unpack_from("<I", data, place + 42)[0]
        struct.pack_into("<H", data, place + 34, volume_of(offset))
        struct.pack_into("<I", data, place + 42, offset - starts[volume_of(offset)])
        place += 46 + name + extra + comment
    struct.pack_into("<HH", data, end + 4, len(starts) - 1, volume_of(directory))
    struct.pack_into("<I", data, end + 16, directory - starts[volume_of(directory)])
    for at, (start, stop) in enumerate(pairwise((*starts, len(data))), 1):
        ending = "zip" if at == len(starts) else f"z{at:02}"
        (folder / f"a.{ending}").write_bytes(data[start:stop])
    return folder / "a.zip"
