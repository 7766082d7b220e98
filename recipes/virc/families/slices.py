"""How MiniCPM-V sees a picture: whole, and in slices of about a square each (transformers 5.24, `minicpmv4_6`)."""

import math

from virc.reasoning.resize import Tiles, Views


class Slices(Tiles, frozen=True):
    """`most` slices of an image at most, each of about the area of a square of `side` px, as the whole image is."""

    def views(self, width: int, height: int) -> Views:
        """The whole image and its slices."""
        columns, rows = self._layout(width, height)
        whole = self._view(width, height, enlarged=columns * rows == 1)
        if columns * rows == 1:
            return [[whole]]
        slice_size = (max(1, round(width / columns)), max(1, round(height / rows)))
        return [[whole], *[[self._view(*slice_size)] * columns] * rows]

    def tiles(self, width: int, height: int) -> int:
        """As of `Tiles`."""
        return sum(map(len, self.views(width, height)))

    def _layout(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of slices, whose ratio is nearest to that of the sides; of two as near the one of more rows.

        There are as many as squares fill the area, or one more or less; one is none.
        """
        wanted = min(math.ceil(width * height / self.side**2), self.most)
        if wanted <= 1:
            return 1, 1
        counts = [count for count in (wanted - 1, wanted, wanted + 1) if 1 < count <= self.most]
        layouts = [(count // rows, rows) for count in counts for rows in range(1, count + 1) if count % rows == 0]
        near = math.log(width / height)
        return min(layouts, key=lambda each: (abs(near - math.log(each[0] / each[1])), -each[1]))

    def _view(self, width: int, height: int, enlarged: bool = True) -> tuple[int, int]:
        """Rows and columns of a view of about a square's area; smaller ones stay as they are unless enlarged."""
        if enlarged or width * height > self.side**2:
            ratio = width / height
            height = int(self.side / math.sqrt(ratio))
            width = int(height * ratio)
        return max(1, round(height / self.factor)), max(1, round(width / self.factor))
