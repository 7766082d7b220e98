"""Make the README's picture: `python tests/docs/trace_picture.py` solves a problem and photographs its trace page.

Needs Chromium on PATH. The page is the one that `virc solve --trace` writes; only its columns are laid out wider.
"""

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import browser  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "trace.png"
QUESTION = "What is m∠B in triangle MBH?"
WIDTH = 1200
STYLE = """
body { max-width: none; padding: 1.25rem 1.5rem; }
main { display: grid; gap: 0 2rem; grid-template-columns: 1fr 4.2fr; }
.top { display: block !important; }
h1 { font-size: 1.4rem; }
.outcome, .top .pictures { margin-top: 1rem; }
.folds, .cost, h2, footer, section[aria-labelledby=about] { display: none; }
section[aria-labelledby=reasoning] { display: grid; gap: 1.5rem; grid-template-columns: repeat(4, 1fr); }
.unit { align-content: start; display: block; padding: 0; }
.unit + .unit { border: 0; }
h3 { font-size: .875rem; }
.thought { font-size: 1rem; line-height: 1.45; margin: .4rem 0; min-height: 3rem; }
.unit .pictures { display: block; }
.unit figure, .pictures.pair figure { margin-bottom: .6rem; max-width: 12rem; }
figcaption { margin-top: .2rem; }
"""


def main() -> None:
    """Solve, open the page, and save what it shows."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        command = [sys.executable, "-m", "virc_cli", "solve", "--model", "tiny"]
        image = ROOT / "tests" / "pictures" / "triangle.png"
        subprocess.run([*command, image, QUESTION, "--trace", work], check=True)
        with browser.tab(Path(work) / "profile") as tab:
            tab.open(Path(work) / "index.html", WIDTH)
            tab.value(f"(s => {{ s.replaceSync({STYLE!r}); document.adoptedStyleSheets = [s] }})(new CSSStyleSheet())")
            height = tab.value("document.querySelector('main').getBoundingClientRect().bottom")
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": int(height) + 16, "scale": 1}
            shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
    PICTURE.write_bytes(base64.b64decode(shot))


if __name__ == "__main__":
    main()
