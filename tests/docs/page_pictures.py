"""Make the pictures of pages in `docs/pictures`: `python tests/docs/page_pictures.py` photographs what commands write.

Needs Chromium on PATH. Each page is photographed as on a wide screen, and as on a phone in the dark.
"""

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import browser  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
QUESTION = "What is m∠B in triangle MBH?"
WINDOWS = {"": (1400, "light"), "-phone": (420, "dark")}
"""End of a picture's name -> width in CSS px and colour scheme."""


def virc(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "virc_cli", *map(str, words)], check=True)


def photograph(tab: browser.Tab, page: Path, name: str, first_left_out: str, height: int = 900) -> None:
    """Save what a page shows above the element of a selector, at most so many px."""
    for end, (width, scheme) in WINDOWS.items():
        tab.open(page, width, scheme)
        top = tab.value(f"document.querySelector({first_left_out!r})?.getBoundingClientRect().top ?? {height}")
        clip = {"x": 0, "y": 0, "width": width, "height": min(int(top) - 16, height), "scale": 1}
        shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        (PICTURES / f"{name}{end}.png").write_bytes(base64.b64decode(shot))


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        work, image = Path(name), ROOT / "tests" / "pictures" / "triangle.png"
        virc("solve", "--model", "tiny", image, QUESTION, "--trace", work / "trace")
        with browser.tab(work / "profile") as tab:
            photograph(tab, work / "trace" / "index.html", "trace", "section[aria-labelledby=about]")


if __name__ == "__main__":
    main()
