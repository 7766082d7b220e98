"""What runs inside the sandbox: takes code and images from a pipe, runs the code, and sends back texts and images.

It needs the standard library alone, and imports nothing of this package. The code runs in the same interpreter, and can
do with it, and with both pipes, whatever it wants: nothing that comes from here is trusted.

A frame is its length (4 bytes, most significant first) and its bytes. A request is a frame of JSON and one for each new
image, a PNG file. A reply is a frame of JSON and one for each image: red, green and blue of each pixel, row by row.
Before its reply, code may call functions that the request names: a call is a frame of JSON and one for each image, and
is answered by a frame of JSON and a PNG file for each image.
"""

import ast
import contextlib
import io
import json
import linecache
import math
import os
import re
import resource
import struct
import sys
import threading
import traceback
from typing import Any

IMAGE_ENDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_PATH = re.compile(r"[^\s'\"`<>|,;()\[\]{}]+")
_CPU_SECONDS = 3600  # of a child, whose time on the clock the parent limits
_SIGNALS = 256  # that wait for the process


class Output(io.TextIOBase):
    """Text that is printed: all of it, or its beginning and its end."""

    def __init__(self, most: int) -> None:
        self.most, self.text, self.dropped = most, "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(text) > 4 * self.most:
            self.text += text[: self.most] + text[-self.most :]
            self.dropped += len(text) - 2 * self.most
        else:
            self.text += text
        if len(self.text) > 2 * self.most:
            self._cut()
        return len(text)

    def _cut(self) -> None:
        half = self.most // 2
        self.dropped += len(self.text) - 2 * half
        self.text = self.text[:half] + self.text[-half:]

    def value(self) -> str:
        """What was printed, with a note where the middle of it was left out."""
        if len(self.text) > self.most:
            self._cut()
        half = self.most // 2
        if not self.dropped:
            return self.text
        return f"{self.text[:half]}\n[... {self.dropped} characters left out ...]\n{self.text[half:]}"


class Images:
    """The images that a run of the code gives back, and notes on those that it does not."""

    def __init__(self, most: int, max_pixels: int) -> None:
        self.most, self.max_pixels = most, max_pixels
        self.sizes: list[tuple[int, int]] = []
        self.pixels: list[bytes] = []
        self.notes: list[str] = []

    def add(self, image: Any) -> None:
        width, height = image.size
        if width * height > self.max_pixels or not width * height:
            self.note(f"an image of {width} x {height} px is not shown: the most is {self.max_pixels} pixels")
        elif len(self.pixels) >= self.most:
            self.note(f"more than {self.most} images: the others are not shown")
        else:
            if "A" in image.getbands() or "transparency" in image.info:
                from PIL import Image

                over = image.convert("RGBA")
                image = Image.new("RGBA", over.size, "white")
                image.alpha_composite(over)
            self.sizes.append((width, height))
            self.pixels.append(image.convert("RGB").tobytes())

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def add_figure(self, figure: Any) -> None:
        from PIL import Image

        file = io.BytesIO()
        figure.savefig(file, format="png", bbox_inches="tight")
        self.add(Image.open(file))

    def add_file(self, path: str) -> None:
        from PIL import Image

        try:
            with Image.open(path) as image:
                image.load()
                self.add(image)
        except Exception as error:
            self.note(f"{os.path.basename(path)} cannot be shown: {type(error).__name__}")  # noqa: PTH119


class CallError(Exception): ...


class Channel:
    """The pipes of this process, over which code calls functions. One call is under way at a time."""

    def __init__(self, requests: io.BufferedReader, results: io.BufferedWriter) -> None:
        self.requests, self.results, self.lock = requests, results, threading.Lock()
        self.id: int | None = None  # of the piece of code that runs
        self.max_images, self.max_pixels = 0, 0  # of one call, the pixels of all its images

    def call(self, id: int, name: str, arguments: dict[str, Any]) -> Any:
        """What the function gives back. Raises CallError: why there is nothing."""
        images: list[Any] = []
        written = {key: _written(value, f"{name}()", images) for key, value in arguments.items()}
        self._check_images(name, [image.size for image in images])
        call = {"kind": "call", "id": id, "name": name, "arguments": written}
        with self.lock:
            if self.id != id:
                raise CallError(f"{name}() belongs to code that has ended")
            frame = as_json(call | {"images": [image.size for image in images]})
            for each in (frame, *(image.tobytes() for image in images)):
                write(self.results, each)
            self.results.flush()
            answer = json.loads(read(self.requests))
            files = [read(self.requests) for _ in range(answer["images"])]
        if answer["error"] is not None:
            raise CallError(answer["error"])
        return [_opened(each) for each in files] if files else answer["value"]

    def _check_images(self, name: str, sizes: list[tuple[int, int]]) -> None:
        pixels = [width * height for width, height in sizes]
        if 0 in pixels:
            raise CallError(f"{name}() was called with an image of {sizes[pixels.index(0)]}, which has no pixels")
        if len(sizes) > self.max_images or sum(pixels) > self.max_pixels:
            most = f"{self.max_images} images with {self.max_pixels} pixels together"
            raise CallError(f"{name}() was called with {len(sizes)} images with {sum(pixels)}; it takes at most {most}")

    def function(self, id: int, name: str, parameters: list[str]) -> Any:
        """The function as code calls it, by position or by name; parameters that end in `=` may be left out."""
        names = [each.rstrip("=") for each in parameters]

        def function(*values: Any, **named: Any) -> Any:
            given = {**dict(zip(names, values)), **named}  # noqa: B905
            lacks = any(each not in given for each in parameters if not each.endswith("="))
            if lacks or given.keys() - {*names} or len(given) < len(values) + len(named):
                raise TypeError(f"it is {name}({', '.join(parameters)})")
            return self.call(id, name, given)

        function.__name__ = function.__qualname__ = name
        return function


def _written(value: Any, where: str, images: list[Any]) -> Any:
    """A value as JSON; a PIL image is added to `images`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, (bool, int, float)):
        if math.isfinite(value or 0) if isinstance(value, float) else abs(value or 0) < 2**63:
            return value
        raise TypeError(f"{where} takes finite numbers, and no integers of more than 64 bits")
    if isinstance(value, (list, tuple)):
        return [_written(each, where, images) for each in value]
    if isinstance(value, dict):
        return {"object": {str(key): _written(each, where, images) for key, each in value.items()}}
    pillow, numpy = sys.modules.get("PIL.Image"), sys.modules.get("numpy")
    if pillow and isinstance(value, pillow.Image):
        images.append(value.convert("RGB"))
        return {"image": len(images) - 1}
    if numpy and isinstance(value, (numpy.generic, numpy.ndarray)):
        return _written(value.tolist(), where, images)
    raise TypeError(f"{where} takes images of PIL, texts, numbers, lists and dicts, and this is {type(value).__name__}")


def _opened(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))


class Runner:
    """Runs pieces of code in one namespace; the code may write into `folder`."""

    def __init__(self, folder: str, channel: Channel) -> None:
        self.folder, self.channel, self.runs = folder, channel, 0
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}

    def run(self, request: dict[str, Any], files: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        for image, data in zip(request["images"], files, strict=True):
            self._give(image, data)
        self.namespace.update(request["variables"])
        self.channel.id = id = request["id"]
        self.channel.max_images, self.channel.max_pixels = request["max_call_images"], request["max_pixels"]
        for name, parameters in request["functions"].items():
            self.namespace[name] = self.channel.function(id, name, parameters)
        images = Images(request["max_images"], request["max_pixels"])
        out, err = Output(request["max_characters"]), Output(request["max_characters"])
        before = self._files()
        fault = self._execute(request["code"], images, out, err)
        with self.channel.lock:  # no call of a thread that goes on comes behind the reply
            self.channel.id = None
        printed = out.value()
        with contextlib.suppress(Exception):
            self._collect(request["files"], printed, before, images)
        notes = [f"[{note}]" for note in images.notes]
        reply = {"stdout": printed, "stderr": err.value(), "notes": notes, "fault": fault, "images": images.sizes}
        return {"kind": "reply", "id": id, **reply}, images.pixels

    def _give(self, image: dict[str, Any], data: bytes) -> None:
        path = os.path.join(self.folder, image["file"])  # noqa: PTH118
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data)
        if image["path_name"]:
            self.namespace[image["path_name"]] = path
        if image["name"]:
            from PIL import Image

            self.namespace[image["name"]] = Image.open(io.BytesIO(data))

    def _execute(self, code: str, images: Images, out: Output, err: Output) -> bool:
        self.runs += 1
        name = f"<code {self.runs}>" if self.runs > 1 else "<code>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        _take_shown(code, images, self.namespace)
        kept = sys.stdout, sys.stderr, sys.stdin
        sys.stdout, sys.stderr, sys.stdin = out, err, io.StringIO()
        try:
            self._exec(code, name, images)
        except SystemExit:
            return False
        except BaseException as error:  # the code may raise anything
            err.write(_shortened(error))
            return True
        finally:
            sys.stdout, sys.stderr, sys.stdin = kept
        return False

    def _exec(self, code: str, name: str, images: Images) -> None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self.namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), self.namespace)
            if value is not None and not _shown(value, images):
                print(repr(value))

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for place, _, names in os.walk(self.folder):
            for name in sorted(names):
                path = os.path.join(place, name)  # noqa: PTH118
                if name.lower().endswith(IMAGE_ENDS) and os.path.isfile(path):  # noqa: PTH113
                    state = os.stat(path)  # noqa: PTH116
                    found[path] = (state.st_mtime_ns, state.st_size)
        return found

    def _collect(self, which: str, printed: str, before: dict[str, tuple[int, int]], images: Images) -> None:
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            for number in pyplot.get_fignums():
                images.add_figure(pyplot.figure(number))
            pyplot.close("all")
        if which == "saved":
            paths = [path for path, state in self._files().items() if before.get(path) != state]
        elif which == "printed":
            paths = [os.path.join(self.folder, each) for each in _PATH.findall(printed)]  # noqa: PTH118
        else:
            paths = []
        for path in dict.fromkeys(paths):
            if path.lower().endswith(IMAGE_ENDS) and os.path.isfile(path):  # noqa: PTH113
                images.add_file(path)


def _shown(value: Any, images: Images) -> bool:
    """Take a value where it is an image or a figure; whether it is one."""
    kind = f"{type(value).__module__}.{type(value).__name__}"
    if "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
        images.add(value)
    elif kind == "matplotlib.figure.Figure":
        images.add_figure(value)
        sys.modules["matplotlib.pyplot"].close(value)
    else:
        return False
    return True


def _take_shown(code: str, images: Images, namespace: dict[str, Any]) -> None:
    """Have what the code shows taken: by `plt.show()`, by `image.show()`, or by `display(...)`."""

    def display(*values: Any) -> None:
        for value in values:
            if not _shown(value, images):
                print(value)

    namespace["display"] = display
    if pillow := sys.modules.get("PIL.Image"):
        pillow.Image.show = lambda image, *_, **__: images.add(image)  # type: ignore[attr-defined]
    if "matplotlib" in code or "pyplot" in code or "matplotlib.pyplot" in sys.modules:
        with contextlib.suppress(Exception):
            from matplotlib import pyplot

            def show(*_: Any, **__: Any) -> None:
                for number in pyplot.get_fignums():
                    images.add_figure(pyplot.figure(number))
                pyplot.close("all")

            pyplot.show = show


def _shortened(error: BaseException) -> str:
    found = traceback.TracebackException.from_exception(error)
    begun = [found]
    while begun:
        each = begun.pop()
        each.stack = traceback.StackSummary.from_list([one for one in each.stack if one.filename.startswith("<code")])
        begun += [other for other in (each.__cause__, each.__context__) if other]
    return "".join(found.format())


def read(stream: io.BufferedReader) -> bytes:
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    (length,) = struct.unpack(">I", head)
    return stream.read(length)


def as_json(content: dict[str, Any]) -> bytes:
    """A frame of JSON, in which half of a surrogate pair, which UTF-8 cannot hold, is `?`."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def write(stream: io.BufferedWriter, frame: bytes) -> None:
    stream.write(struct.pack(">I", len(frame)) + frame)


def limit(memory: int, file: int, threads: int) -> None:
    """Limit this process for good: its memory and each file that it writes, in bytes, and its threads, where not 0."""
    limits = {
        "AS": memory, "FSIZE": file, "CORE": 0, "NOFILE": 128, "MEMLOCK": 0, "CPU": _CPU_SECONDS, "RTPRIO": 0,
        "NICE": 0, "MSGQUEUE": 0, "SIGPENDING": _SIGNALS, **({"NPROC": threads} if threads else {}),
    }  # fmt: skip
    for name, most in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):  # macOS has not all, and refuses some
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _end_with_parent() -> None:
    """Have this process killed with the one that started it, where there is no sandbox that does so."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of <linux/prctl.h>


def seal(program: bytes) -> None:
    """Add a filter of system calls to this process, and have no memory of it dumped where it crashes."""
    import ctypes

    libc, kept = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(program)
    filter = struct.pack("HP", len(program) // 8, ctypes.addressof(kept))  # struct sock_fprog of <linux/filter.h>
    # PR_SET_DUMPABLE; PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    if libc.prctl(4, 0, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls")


def main() -> None:
    settings = json.loads(sys.argv[1])
    if settings["filter"]:
        seal(bytes.fromhex(settings["filter"]))
    else:
        _end_with_parent()
    requests = os.fdopen(os.dup(0), "rb")
    results = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    sys.path += settings["packages"]
    sys.argv = [""]
    for name in settings["preloaded"]:
        with contextlib.suppress(Exception):
            __import__(name)
    import random

    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    limit(settings["memory"], settings["file"], settings["threads"])
    runner = Runner(settings["folder"], Channel(requests, results))
    os.chdir(settings["folder"])
    write(results, b"ready")
    results.flush()
    while True:
        try:
            request = json.loads(read(requests))
            files = [read(requests) for _ in request["images"]]
        except EOFError:
            return
        reply, pixels = runner.run(request, files)
        for frame in (as_json(reply), *pixels):
            write(results, frame)
        results.flush()


if __name__ == "__main__":
    main()
