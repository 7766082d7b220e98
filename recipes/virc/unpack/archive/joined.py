"""Parts of an archive read as one file, without a copy."""

import io
import os
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO


class Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._files, self._at = files, 0
        sizes = [os.fstat(file.fileno()).st_size for file in files]
        self._ends, self.size = list(accumulate(sizes)), sum(sizes)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, most: int = -1) -> bytes:
        found, end = bytearray(), self.size if most < 0 else self._at + most
        for file, ends in zip(self._files, self._ends, strict=True):
            if self._at < min(ends, end):
                file.seek(self._at - ends, os.SEEK_END)
                data = file.read(min(ends, end) - self._at)
                self._at += len(data)
                found += data
        return bytes(found)
