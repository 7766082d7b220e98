"""Pictures: opened from hostile bytes, made upright RGB, and shown on the model's grid.

`open_file` (bytes or a path) and `from_pillow` (an image of a Python caller) return an `OpenedImage`: the pixels, and
how its file may be sent. `show` resizes it to a `Shown`, what the model sees. `stored` says how other programs read it.
"""

import base64
import hashlib
import io
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache, partial
from importlib import import_module
from operator import add
from pathlib import Path
from typing import Any

import msgspec
from PIL import ExifTags, Image, ImageChops, ImageFilter, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from virc.core.errors import DataError
from virc.core.extras import install
from virc.core.files import POINTER, PULL, contents
from virc.core.text import clause
from virc.reasoning.calls import Box, Size
from virc.reasoning.encoded import Encoded, as_jpeg, as_png, without_metadata
from virc.reasoning.media import MediaPlace
from virc.reasoning.pixels import appearance, depth
from virc.reasoning.pixels.appearance import JPEGS, Stated
from virc.reasoning.pixels.depth import Levels
from virc.reasoning.resample import Rescaled, StandIn, resampled
from virc.reasoning.resize import MAX_ASPECT, MAX_PIXELS, MAX_SCAN, Grid, smart_resize, too_long

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
HEIC = "HEIC"
"""`StoredImage.differs` of a picture that Pillow alone does not open."""
MAX_BYTES = 256 * 2**20
FEWEST_PIXELS = 16
SQUARE = (1000, 1000)
_BACKGROUNDS = {"white": 255, "black": 0, "gray": 128}
_VISIBLE = 24  # of 255: less alpha is not seen, nor a smaller difference from the background
_TURNED_JPEG, _PLAIN_JPEG = "virc: pixels of a JPEG", "virc: all pixels of a JPEG"
"""Tag 305 (software) of a TIFF to which `solving.memory_images` writes an image of a caller that was read from a JPEG:
the second if the JPEG is upright and RGB or grey, so that its pixels are shown unchanged."""
_RENDERING = "virc: numbers shown from black to white: "
"""The beginning of tag 270 (description) in such a TIFF whose pixels had over 8 bits; a `Rendering` as JSON follows."""
_PAGE = re.compile(rb"[\s\xef\xbb\xbf]*(?:<[?!].*?>\s*)*?<(?:!doctype )?(?:html|head|body|script)\b", re.DOTALL)
_EXIF = re.compile(rb"exif|orientation", re.IGNORECASE)
_NETPBM = re.compile(rb"P[0-6fy]")
_WEBP_ALPHA = 16  # a flag
_MAX_HEADER = 2**16  # bytes of a netpbm file, comments included

# A fault below is one sentence of ours; Pillow's warnings (odd metadata, large sizes) would stand next to it.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")


class Rendering(msgspec.Struct, frozen=True):
    """How a picture became RGB."""

    background: str | None = None  # colour that transparent parts were put on; None: nothing is transparent
    range: Levels | None = None  # numbers that became black and white, if it has over 8 bits, or is too dark to be seen
    missing: int = 0  # how many pixels are no finite number; they count as transparent
    notes: tuple[str, ...] = ()  # keys of `aspects.NOTES`


class OpenedImage(msgspec.Struct, frozen=True):
    """An opened picture.

    Args:
        pixels: upright RGB.
        is_jpeg: its file is a JPEG, so that crops and resized versions are sent as JPEG, too.
        sendable: its file without metadata, if that decodes to these pixels; None: they have to be encoded.
        data: its file.
        rendering: how it became RGB.
        original: (width, height) in pixels of its file, upright, where fewer were decoded.
        lossless: the pixels come from a JPEG file that is no longer here, but would have been sent as it is. They are
            sent as PNG, as another compression as JPEG would change them.
    """

    pixels: Image.Image
    is_jpeg: bool = False
    sendable: Encoded | None = None
    data: bytes | None = None
    rendering: Rendering = Rendering()
    lossless: bool = False
    original: Size | None = None

    @property
    def size(self) -> Size:
        """(width, height) in pixels of its file."""
        return self.original or self.pixels.size


class StoredImage(msgspec.Struct, frozen=True):
    """A picture's file, as a training engine reads it: by `Image.open(FILE).convert("RGB")` alone.

    Args:
        size: (width, height) in px, upright.
        mode: Pillow's.
        differs: why the engine gets other pixels than `open_file`: `turned`, `over 8 bits`, `transparent`, `dark`,
            `colours or shape` or `HEIC`; "": it gets the same.
    """

    size: Size
    mode: str
    differs: str = ""


class Shown:
    """An image as the model sees it: its pixels, and the file that is sent, which is encoded at first use.

    A crop of it is cut from `full`, which has the resolution of the picture's file, else from `pixels`. In an ablation
    (`solving.ablation`), crops show `placeholder`: another picture, a blurred or a blank one.

    Args:
        pixels: RGB at the size shown.
        parent: index of the image it was made from; None for an input.
        box: pixels of the parent as shown that it was cut from, or None.
        twin: an earlier image with the same pixels; its file, URL and digest are used for both.
        substitute: an image of the same proportions that crops are cut from in an ablation, or None.
        original: (width, height) in pixels of an input before it was resized to be shown, or None.
        file: the same pixels as a file, or None.
        is_jpeg: what is made of it is sent as JPEG.
        full: pixels, or a file, from which crops are cut; None: they are cut from the pixels shown. A file is decoded
            for each crop, so that the pixels of many large pictures are not held.

    Attributes:
        full_source: as the argument `full`.
        sent: its (width, height) in pixels as it was sent to a server that takes only fewer bytes or pixels.
        server_limit: what that server said; empty: it was sent whole.
        place: of a part of a clip or document; None: it is a picture.
        medium: the clip or document that an input is a part of, for tools of the extra that reads it.
        is_elsewhere: its pixels are in another process, where `part` cuts.
    """

    is_elsewhere = False

    def __init__(
        self,
        pixels: Image.Image,
        parent: int | None = None,
        box: Box | None = None,
        same_pixels_as: "Shown | None" = None,
        placeholder: Image.Image | None = None,
        original: Size | None = None,
        file: Encoded | None = None,
        is_jpeg: bool = False,
        full: Image.Image | bytes | None = None,
    ) -> None:
        self.size, self.parent, self.box, self.placeholder = pixels.size, parent, box, placeholder
        self.sent, self.server_limit = self.size, ""
        self.original, self.is_jpeg, self.full_source = original, is_jpeg, full
        self.encodings = 0
        self.rendering = Rendering()  # of an input
        self.place: MediaPlace | None = None
        self.medium: Any = None
        self._same_pixels_as = same_pixels_as
        self._pixels = None if same_pixels_as else pixels
        self._file, self._url = file, b""
        self._digest: bytes | None = None

    def repeated(self, parent: int) -> "Shown":
        """Return the same image as the result of a tool that was applied to image number `parent`."""
        return Shown(self.pixels, parent, same_pixels_as=self, is_jpeg=self.is_jpeg)

    def with_placeholder(self, placeholder: Image.Image) -> "Shown":
        """Return the same image, whose crops are cut from `placeholder`."""
        return Shown(self.pixels, self.parent, self.box, self, placeholder, self.original, is_jpeg=self.is_jpeg)

    def cut_from(self, full: Image.Image | bytes | None) -> None:
        """Have crops cut from these pixels, or from that file, in place of what is shown."""
        self.full_source = full

    def part(self, made: Rescaled, size: Size) -> Encoded:
        """What a tool makes of it that is in another process, at the size that it is shown at."""
        raise NotImplementedError

    @property
    def full_size(self) -> Size:
        """(width, height) in pixels of what crops are cut from."""
        if isinstance(self.full_source, bytes):
            return self.original or self.size
        return (self.full_source or self).size

    @property
    def full(self) -> Image.Image:
        """The pixels that crops are cut from; of a file, they are decoded on each access."""
        if isinstance(self.full_source, bytes):
            return _decoded(self.full_source)
        return self.full_source or self.pixels

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def pixels(self) -> Image.Image:
        """RGB at the size shown. Of a crop, frame or page that was sent the file alone is kept, and decoded here."""
        if self._same_pixels_as:
            return self._same_pixels_as.pixels
        pixels = self._pixels
        if pixels is None:
            with decoding("the picture"):
                pixels = Image.open(io.BytesIO(self.file.data)).convert("RGB")
        if not (self._url and self._is_part):
            self._pixels = pixels
        return pixels

    @property
    def file(self) -> Encoded:
        """The image as the file that is sent: its own, or one that is encoded at first use (`encodings` counts)."""
        if self._same_pixels_as:
            return self._same_pixels_as.file
        file = self._file  # read before the URL, for which another thread may drop it
        if self._url:
            return _file_of_url(self._url)
        if file is None:
            self._file = file = as_png(self.pixels)
            self.encodings += 1
        return file

    @property
    def png(self) -> bytes:
        file = self.file
        return file.data if file.media == "png" else as_png(self.pixels).data

    @property
    def digest(self) -> bytes:
        if self._same_pixels_as:
            return self._same_pixels_as.digest
        if self._digest is None:
            self._digest = hashlib.sha256(self.file.data).digest()
        return self._digest

    @property
    def url(self) -> bytes:
        """The file as a data URL. It is made at first use, and then kept in place of the file."""
        if self._same_pixels_as:
            return self._same_pixels_as.url
        if not self._url:
            file = self.file
            self._url = b"data:image/%s;base64,%s" % (file.media.encode(), base64.b64encode(file.data))
            self._file = None
            if self._is_part:
                self._pixels = None
        return self._url

    @property
    def _is_part(self) -> bool:
        """Whether it is of another image, a clip or a document: there may be many in a problem."""
        return self.parent is not None or self.place is not None

    @property
    def data_url(self) -> str:
        return self.url.decode("ascii")


def show(image: Image.Image | Rescaled | OpenedImage, grid: Grid) -> Shown:
    """The image at its smart-resize size. Raises ValueError: one side is over 200 times the other."""
    size = smart_resize(*image.size, grid)
    if isinstance(image, OpenedImage):
        return _shown_input(image, size)
    return Shown(resampled(image, size), original=image.size)


def as_shown(pixels: Image.Image, parent: int, box: Box | None, is_jpeg: bool) -> Shown:
    return _as_jpeg(pixels, parent, box) if is_jpeg else Shown(pixels, parent, box)


def show_square(image: Image.Image | OpenedImage) -> Shown:
    """The image at 1000 x 1000 pixels, whatever its proportions (`images: square_1000`)."""
    return _shown_input(image if isinstance(image, OpenedImage) else OpenedImage(image), SQUARE)


def undecoded_jpeg(data: bytes, name: str) -> Shown | None:
    """A JPEG that is shown at its size and sent as it is: its pixels are decoded if a tool needs them. None: it has to
    be decoded first. Errors as of `open_file`, but that damage between header and end is not noticed.
    """
    image = parse_header(data, name)
    _check_size(image.size, name)
    with decoding(name):
        meaning = appearance.stated(image, data)
        file = _sendable(image, data, meaning)
    if file is None or file.media != "jpeg":
        return None
    shown = of_file(file, image.size, original=image.size)
    shown.rendering = Rendering(notes=meaning.notes)
    return shown


def of_file(
    file: Encoded, size: Size, parent: int | None = None, box: Box | None = None, original: Size | None = None
) -> Shown:
    """An image of (width, height) in pixels that is sent as this file, and decoded where its pixels are needed."""
    shown = Shown(StandIn(size), parent, box, None, None, original, file, file.media == "jpeg")
    shown._pixels = None
    return shown


def _shown_input(image: OpenedImage, size: Size) -> Shown:
    pixels = resampled(image.pixels, size)
    is_resized = pixels is not image.pixels
    if not is_resized and (image.sendable or image.lossless):
        return Shown(pixels, original=image.size, file=image.sendable, is_jpeg=image.is_jpeg)
    return _as_jpeg(pixels, original=image.size) if image.is_jpeg else Shown(pixels, original=image.size)


def _as_jpeg(
    pixels: Image.Image, parent: int | None = None, box: Box | None = None, original: Size | None = None
) -> Shown:
    """An image that is sent as JPEG. Its pixels are decoded from that JPEG, as the model sees those."""
    shown = of_file(as_jpeg(pixels), pixels.size, parent, box, original)
    shown.encodings = 1
    return shown


def _file_of_url(url: bytes) -> Encoded:
    head, _, data = url.partition(b",")
    return Encoded("jpeg" if b"jpeg" in head else "png", base64.b64decode(data))


@lru_cache(1)
def _decoded(data: bytes) -> Image.Image:
    """The pixels of a file that was opened before; those of the last one are kept for the crops that follow."""
    return open_file(data, "the picture").pixels


def open_image(source: bytes | Path, name: str) -> Image.Image:
    """The pixels of `open_file`, and arguments and errors as there."""
    return open_file(source, name).pixels


def open_file(source: bytes | Path, name: str, most: int = MAX_PIXELS) -> OpenedImage:
    """Open a picture as upright RGB: of several frames the first, and what is transparent on white, black or gray.

    Args:
        source: the file's bytes, or where it lies.
        name: what the user calls it, for messages.
        most: pixels, of which more are refused.

    Raises:
        DataError: it is missing, empty, damaged, no picture, or too large, small or long to be shown.
    """
    data = source if isinstance(source, bytes) else _read(source, name)
    image = parse_header(data, name)
    _check_size(image.size, name, most)
    return upright_rgb(image, name, data)


def page_of(data: bytes, name: str, page: int) -> Image.Image:
    image = parse_header(data, name, page)
    with decoding(name):
        seek_page(image, page, name, image.tell())
    _check_size(image.size, name)
    return image


def seek_page(image: Image.Image, page: int, name: str, first: int = 0) -> None:
    """Go to a page, from 1: that with the index `first`, and then the others as they are stored."""
    try:
        image.seek(first if page == 1 else page - 1 if page > first + 1 else page - 2)
    except EOFError:
        raise DataError(f"{name} has no page {page}") from None


def from_pillow(image: Image.Image) -> OpenedImage:
    """A picture of a caller, whose object stays as it is, as `open_file` gives one. Raises DataError: it is damaged."""
    with decoding("the picture"):
        is_deep, meaning = depth.is_deep(image), appearance.stated(image)
        if not is_deep:
            image.load()
        is_finished = not is_deep and image.mode == "RGB" and _is_plain(image) and meaning == Stated()
        mark = jpeg_mark(image)
        opened = OpenedImage(image) if is_finished else upright_rgb(own_copy(image), "the picture", meaning=meaning)
    return msgspec.structs.replace(opened, is_jpeg=mark is not None, lossless=mark == _PLAIN_JPEG)


def upright_rgb(image: Image.Image, name: str, data: bytes | None = None, meaning: Stated | None = None) -> OpenedImage:
    """Decode a picture, turn it by its EXIF block, brighten it if it is too dark to be seen, and make it RGB in sRGB
    with square pixels.
    """
    format, mark = image.format, jpeg_mark(image)
    with decoding(name):
        meaning = meaning or appearance.stated(image, data)
        levels = load(image, data)
        rendering = Rendering(range=levels) if levels else _described_rendering(image) or Rendering()
        rendering = msgspec.structs.replace(rendering, notes=(*rendering.notes, *meaning.notes))
        sendable = _sendable(image, data, meaning) if data else None
        plain, shape = _is_plain(image), upright_shape(image, meaning)
        with suppress(Exception):  # a damaged EXIF block is no reason to refuse the pixels
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("L", "RGB") and plain and mark is None and not (meaning.greatest or rendering.range):
            rendering = msgspec.structs.replace(rendering, range=depth.brightened(image))
        pixels, rendering = as_rgb(image, rendering, meaning)
        pixels = appearance.in_square_pixels(pixels, shape)
    if rendering.range is not None:
        sendable = None
    lossless = format == "TIFF" and mark == _PLAIN_JPEG
    return OpenedImage(pixels, mark is not None, sendable, data, rendering, lossless)


def _sendable(image: Image.Image, data: bytes, meaning: Stated) -> Encoded | None:
    """The file of a picture without its metadata, if its pixels need no change but that dark ones are brightened."""
    is_unchanged = image.format in ("PNG", *JPEGS) and _is_plain(image) and meaning.is_plain
    return without_metadata(data, image.size) if is_unchanged else None


def upright_shape(image: Image.Image, meaning: Stated) -> float:
    """Width of a pixel by its height after EXIF has turned the picture."""
    is_turned = meaning.shape != 1 and image.format != "TIFF" and _orientation(image) in range(5, 9)
    return 1 / meaning.shape if is_turned else meaning.shape


def load(image: Image.Image, data: bytes | None = None) -> Levels | None:
    """Decode a picture, whose file is `data`, in place; of colours of 16 bits, return the range that is shown in 8."""
    if not depth.is_deep(image):
        image.load()
        return None
    return depth.load(image, partial(_reopened, data or _content(image), image.tell()))


def own_copy(image: Image.Image) -> Image.Image:
    """A picture that may be changed: a copy, or its file opened once more where 16-bit colours are to be decoded."""
    if not depth.is_deep(image):
        return image.copy()
    return _reopened(_content(image), image.tell())


def _reopened(content: bytes, page: int) -> ImageFile:
    image = undecoded(content)
    image.seek(page)
    return image


def _content(image: Image.Image) -> bytes:
    """All bytes of the file that Pillow has open for an image."""
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    try:
        content: bytes = file.read(MAX_BYTES)
    finally:
        file.seek(position)
    return content


def tiff_description(rendering: Rendering) -> str | None:
    """The description of a TIFF (tag 270) of pixels that became so; None: there is nothing to say."""
    return None if rendering == Rendering() else f"{_RENDERING}{msgspec.json.encode(rendering).decode()}"


def _described_rendering(image: Image.Image) -> Rendering | None:
    """What `tiff_description` wrote into a TIFF; None in any other file."""
    text = image.tag_v2.get(270) if isinstance(image, TiffImageFile) else None
    if isinstance(text, str) and text.startswith(_RENDERING):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(text.removeprefix(_RENDERING), type=Rendering)
    return None


def _is_plain(image: Image.Image) -> bool:
    return image.mode in ("RGB", "L", "P") and _orientation(image) == 1 and not image.has_transparency_data


def jpeg_mark(image: Image.Image) -> str | None:
    """Tag 305 of a TIFF with the pixels of an image that was read from a JPEG, or from such a TIFF; None: neither."""
    if image.format in JPEGS:
        return _PLAIN_JPEG if _is_plain(image) and appearance.stated(image).is_plain else _TURNED_JPEG
    mark = image.tag_v2.get(305) if isinstance(image, TiffImageFile) else None
    return mark if mark in (_TURNED_JPEG, _PLAIN_JPEG) else None


def _orientation(image: Image.Image) -> int:
    """EXIF's number of how a picture is turned: 1 is upright, 5 to 8 exchange width and height."""
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Raise what decoders raise, which is nearly everything on hostile bytes, as a DataError that names the picture."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name} is damaged or cut short: {clause(error)}") from None


def image_size(source: bytes | Path, name: str, most: int = MAX_SCAN) -> Size:
    """(width, height) in px of the picture that `open_image` gives, without decoding it; errors as there."""
    data = source if isinstance(source, bytes) else _read(source, name)
    image = parse_header(data, name)
    _check_size(image.size, name, most)
    turned = False
    # Pillow gives the upright size of a TIFF itself, and decodes a PNG in search of a turn that it may not have.
    if image.format != "TIFF" and (image.format != "PNG" or _EXIF.search(data)):
        turned = _orientation(image) in range(5, 9)
    width, height = square_size(image, data)
    return (height, width) if turned else (width, height)


def square_size(image: Image.Image, data: bytes) -> Size:
    """(width, height) in square pixels of a picture that is not decoded, as it lies in its file."""
    return appearance.square_size(image.size, appearance.pixel_shape(image, data))


def stored(source: bytes | Path, name: str = "it") -> StoredImage:
    """A picture's file as it is stored, all of which is decoded. Arguments and errors are those of `open_file`."""
    data = source if isinstance(source, bytes) else _read(source, name)
    image = parse_header(data, name)
    if image.format == "HEIF":
        return StoredImage(open_image(data, name).size, "RGB", HEIC)
    _check_size(image.size, name)
    with decoding(name):
        meaning, size, mode = appearance.stated(image, data), square_size(image, data), image.mode
        is_deep, is_transparent = depth.is_deep(image), image.has_transparency_data
        if image.format in JPEGS and meaning.is_plain and _orientation(image) == 1:
            image.draft(None, (1, 1))  # all bytes are read, and an eighth of each side is made: half of the time
            image.load()
            return StoredImage(size, mode)
        image.load()  # before EXIF is looked for: where Pillow decodes a PNG in search of it, errors are lost
        orientation = 1 if image.format == "TIFF" else _orientation(image)  # Pillow itself turns a TIFF
        reason = ""
        if orientation != 1:
            reason = "turned"
        elif is_deep or mode.startswith(("I", "F")):
            reason = "over 8 bits"
        elif is_transparent:
            is_opaque = meaning.is_plain and mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
            reason = "" if is_opaque else "transparent"  # screenshots are
        elif not meaning.is_plain:
            reason = "colours or shape"
        elif mode in ("L", "RGB") and jpeg_mark(image) is None and depth.brightened(image):
            reason = "dark"
        picture = StoredImage(size[::-1] if orientation in range(5, 9) else size, mode, reason)
        if not reason or reason == "dark" or mode == "La":  # which Pillow makes RGB only by way of LA
            return picture
        of_engine = image.convert("RGB").tobytes()
        opened = open_file(data, name) if is_deep else upright_rgb(image, name, data, meaning)
    return msgspec.structs.replace(picture, differs="") if opened.pixels.tobytes() == of_engine else picture


def _read(path: Path, name: str) -> bytes:
    try:
        return contents(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataError(f"there is no file {name}") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder, not a picture") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {clause(error)}") from None


def parse_header(data: bytes, name: str, page: int | None = None) -> Image.Image:
    """Return the picture of a file of which the header alone is read. Raises DataError: the data is something else."""
    if not data:
        raise DataError(f"{name} is empty")
    if len(data) > MAX_BYTES:
        raise DataError(f"{name} is over {MAX_BYTES // 2**20} MiB", "make it smaller first")
    try:
        if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
            return _open_heif(data, name)
        image = undecoded(data)
        if _is_preview(image):
            what = f"a camera's raw file, of which {image.width} x {image.height} px are a preview"
            raise DataError(f"{name} is {what}", "export it as JPEG or PNG")
        return image
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(data, name, error, page) from None


def moves_as_webp(head: bytes) -> bool:
    """Whether a file that begins so is an animated WebP (RFC 9649)."""
    return head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X" and len(head) > 20 and bool(head[20] & 2)


def _is_preview(image: Image.Image) -> bool:
    """Whether a TIFF begins with a reduced picture and has the whole one where Pillow finds none, as DNG and NEF do."""
    tags: Any = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    return bool(tags.get(254, 0) & 1) and (330 in tags or 50706 in tags)  # NewSubfileType; SubIFDs, DNGVersion


def undecoded(data: bytes) -> ImageFile:
    """Return the picture of a file of which the header alone is read.

    Raises:
        ValueError: it is a netpbm file with endless comments: Pillow takes 0.14 s to read a megabyte of them.
        Exception: whatever Pillow raises.
    """
    if _NETPBM.match(data) and len(data) > _MAX_HEADER:
        needed = 3 if data[1:2] in b"14" else 4  # type, width, height, and of all but bitmaps the largest value
        comments_and_words = re.findall(rb"#[^\r\n]*|[^\s#]+", data[:_MAX_HEADER])
        if sum(not each.startswith(b"#") for each in comments_and_words) < needed:
            raise ValueError(f"its header is over {_MAX_HEADER >> 10} KiB")
    if moves_as_webp(data):  # libwebp flags no alpha where frames leave parts free, and Pillow shows these black then
        data = data[:20] + bytes([data[20] | _WEBP_ALPHA]) + data[21:]
    try:
        return Image.open(io.BytesIO(data), formats=readable())
    except Image.DecompressionBombError:  # over 179 million pixels; how many are too many is decided here
        kind = next(each for each in readable() if (accept := Image.OPEN[each][1]) and accept(data[:16]) is True)
        opened: ImageFile = Image.OPEN[kind][0](io.BytesIO(data), "")
        return opened


def _unreadable(data: bytes, name: str, error: Exception, page: int | None) -> DataError:
    start = data[:1024].lstrip().lower()
    if re.search(rb"\A%pdf|%pdf-\d\.\d[ \t]*[\r\n]", start):
        chosen = f" -f {page} -l {page}" if page else ""
        convert, file = f"pdftoppm -r 200 -png{chosen}", shlex.quote(name)
        hint = f"{convert} {file} page"
        if name in ("standard input", "the data URL"):
            hint = f"{convert} FILE.pdf page"
        elif re.match("https?://", name, re.IGNORECASE):
            hint = f"curl -L {file} | {convert} - page"
        return DataError(f"{name} is a PDF, not a picture", hint)
    is_page = _PAGE.match(start) is not None
    if is_page or b"<svg" in start:
        kind = "a web page, not a picture" if is_page else "an SVG drawing, not a picture of pixels"
        return DataError(f"{name} is {kind}", "name the PNG or JPEG in it" if is_page else "export it as PNG")
    if not isinstance(error, UnidentifiedImageError):
        return DataError(f"{name} is damaged or cut short: {clause(error)}")
    if data.startswith(POINTER):
        return DataError(f"{name} is a pointer of Git LFS, not the picture", PULL)
    if is_known(data):
        return DataError(f"{name} is damaged or cut short, or of a kind that Pillow does not decode", "save it as PNG")
    return DataError(f"{name} is not a picture that can be read", f"known are {', '.join(readable())}")


def is_known(head: bytes) -> bool:
    """Whether a file that begins so is a picture of a format that is read, damaged or not."""
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return True
    if head.startswith((b"BM", b"P")):  # as texts may begin, too
        return head[6:10] == bytes(4) if head.startswith(b"BM") else bool(re.match(rb"P[0-6fFy][\sCRP]", head))
    accepts = (Image.OPEN[kind][1] for kind in readable())
    return any(accept and accept(head[:16].ljust(16)) is True for accept in accepts)


@cache
def readable() -> list[str]:
    """Those of FORMATS that this Pillow decodes. `Image.init` would import thirty formats more."""
    Image.preinit()
    for plugin in ("WebP", "Tiff", "Avif"):
        with suppress(ImportError):
            import_module(f"PIL.{plugin}ImagePlugin")
    return [kind for kind in FORMATS if kind in Image.OPEN]


def _open_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pillow_heif  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        hint = f"{install('heic')}, or on a Mac: sips -s format png {shlex.quote(name)} --to picture.png"
        raise DataError(f"{name} is a HEIC picture, which needs the extra heic", hint) from None
    opened: Any = pillow_heif.HeifImageFile
    image: Image.Image = opened(io.BytesIO(data))
    _check_size(image.size, name)
    return image


def _check_size(size: Size, name: str, most: int = MAX_PIXELS) -> None:
    width, height = size
    measured = f"{name} has {width} x {height} px"
    if width * height > most:
        raise DataError(f"{measured}, over {most // 10**6} million", "make it smaller first")
    if width * height < FEWEST_PIXELS:
        raise DataError(f"{measured}, too few to see anything")
    if too_long(width, height):
        raise DataError(f"{measured}, one side over {MAX_ASPECT} times the other", "cut out the part that matters")


def as_rgb(image: Image.Image, rendering: Rendering, meaning: Stated) -> tuple[Image.Image, Rendering]:
    """A decoded picture as RGB in sRGB, and its rendering: the one given, with what this step adds to it."""
    if meaning.greatest or image.mode.startswith(("I", "F")):
        image, levels, missing = depth.grey(image, meaning.greatest)
        shown = levels[::-1] if meaning.is_negative else levels
        rendering = msgspec.structs.replace(rendering, range=shown, missing=missing)
    if image.mode == "La":  # premultiplied, of which Pillow makes LA alone
        image = image.convert("LA")
    image = appearance.in_stated_colours(image, meaning)
    note = _note_of_alpha(image) if image.has_transparency_data else None
    if note:
        rendering = msgspec.structs.replace(rendering, notes=(*rendering.notes, note))
    if image.has_transparency_data and note != "alpha":
        background = _background(image)
        paper = Image.new("RGB", image.size, background)
        for top, rows in depth.strips(image):
            strip = rows.convert("RGBA")
            paper.paste(strip, (0, top), strip)
        return paper, msgspec.structs.replace(rendering, background=background)
    plain = image._new(image.im) if image.mode == "RGB" else image.convert("RGB")  # the same pixels, not a copy
    plain.info = {}  # what a camera wrote about place and owner must not travel with the pixels
    return plain, rendering


def _note_of_alpha(image: Image.Image) -> str | None:
    """`alpha` or `empty` if nothing of a picture is to be seen by its alpha: programs leave alpha at 0."""
    seen = set[tuple[int, Any]]()  # colours by their place, and their least and greatest values
    for _, rows in depth.strips(image):
        *colours, alpha = (each.getextrema() for each in rows.convert("RGBA").split())
        if alpha[1]:
            return None
        seen |= {(at, value) for at, extrema in enumerate(colours) for value in extrema}
    return "alpha" if len(seen) > 3 else "empty"


def _luminance(image: Image.Image) -> Image.Image:
    """The greys that are as bright as the colours: yellow is nearly white. Weights: ITU-R BT.709; gamma: 2.2."""
    linear = [round(255 * (value / 255) ** 2.2) for value in range(256)]
    weighed = image.convert("RGB").point(linear * 3).convert("L", (0.2126, 0.7152, 0.0722, 0))
    return weighed.point([round(255 * (value / 255) ** (1 / 2.2)) for value in range(256)])


def _background(image: Image.Image) -> str:
    """The background to put a transparent picture on: white, unless over a quarter of the visible pixels that border on
    transparent ones would vanish on it, as they are nearly as bright; then the one on which the fewest vanish.
    """
    shades = [0] * 256  # brightness -> how many such pixels have it
    for _, rows in depth.strips(image):
        strip = rows.convert("RGBA")
        visible = strip.getchannel("A").point(lambda alpha: 255 if alpha >= _VISIBLE else 0)
        edges = ImageChops.subtract(visible, visible.filter(ImageFilter.MinFilter(3)))
        shades = [*map(add, shades, _luminance(strip).histogram(edges))]
    hidden = {name: sum(shades[max(0, grey - _VISIBLE) : grey + _VISIBLE]) for name, grey in _BACKGROUNDS.items()}
    return "white" if hidden["white"] * 4 <= sum(shades) else min(hidden, key=lambda name: hidden[name])
