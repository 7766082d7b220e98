"""How Ovis2 cuts an image into tiles: as few as see nearly all of it at its own size (transformers 5.24, `ovis2`)."""

import math

from virc.reasoning.resize import Tiles, Views

_NEARLY_ALL = 0.9
"""Share of an image that tiles have to see before their number counts more."""


class CoveringTiles(Tiles, frozen=True):
    """Tiles in rows and columns, with marks between them."""

    def shape(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of tiles of an image of that size in px, without the whole image.

        As transformers has it: what is weighed as rows is cut as columns, and the other way around.
        """
        across = range(1, self.most + 1)
        shapes = sorted(((x, y) for x in across for y in across if x * y <= self.most), key=math.prod)
        seen = {shape: self._seen(width, height, *shape) for shape in shapes}
        if enough := [shape for shape in shapes if seen[shape] > _NEARLY_ALL]:
            return min(enough, key=lambda shape: (math.prod(shape), -seen[shape]))
        return max(shapes, key=lambda shape: (seen[shape], -math.prod(shape)))

    def views(self, width: int, height: int) -> Views:
        """The whole image, and the rows of its tiles, if there are any."""
        columns, rows = self.shape(width, height)
        each = (1, self.each)
        return [[each], *([[each] * columns] * rows if columns * rows > 1 else ())]

    def _seen(self, width: int, height: int, rows: int, columns: int) -> float:
        """The share of an image that so many parts show, each as large as it is, or shrunk onto one tile."""
        seen = 0.0
        for high in _parts(height, rows):
            for wide in _parts(width, columns):
                short, long = sorted((high, wide))
                seen += short * long if long <= self.side else short / long * self.side * self.side
        return seen / (width * height)


def _parts(length: int, count: int) -> list[int]:
    """A length in px in that many parts; the last has the rest."""
    each = length // count
    return [each] * (count - 1) + [length - each * (count - 1)]
