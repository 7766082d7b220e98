"""The page to look through an evaluation: what it says of each problem, and that text of others stays text."""

import base64
import hashlib
import re
from pathlib import Path

import paged
from support.parsed import HOSTILE, Page


def test_text_of_others_makes_no_element_and_the_page_asks_no_other_host(tmp_path: Path) -> None:
    text = HOSTILE + "</script><script>alert(1)</script><!--<script><img src=x onerror=alert(1)>"
    page = paged.make(tmp_path, ["RW"], text=text)
    content = page.read_text("utf-8")
    found = Page(content).elements
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert scripts == [{"type": "module"}, {"type": "application/json", "id": "data"}]
    assert [tag for tag, _ in found if tag in ("img", "iframe", "link")] == []
    assert not [value for _, attributes in found for key, value in attributes.items() if key.startswith("on")]
    assert paged.data_of(page)["problems"][0]["answers"][0]["answer"].startswith("4" + HOSTILE[:20])
    script = re.search(r'<script type="module">(.*?)</script>', content, re.DOTALL)
    policy = next(attributes["content"] for tag, attributes in found if "http-equiv" in attributes) or ""
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; img-src 'self' file:; require-trusted-types-for 'script'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"^(import|export) ", script[1], re.MULTILINE)


def test_boxes_are_in_pixels_of_the_file(tmp_path: Path) -> None:
    (problem,) = paged.data_of(paged.make(tmp_path, ["RW"]))["problems"]
    crops = [crop for answer in problem["answers"] for crop in answer["crops"]]
    assert [crop["box"] for crop in crops] == [[*paged.LOOKS[True]], [*paged.LOOKS[True]]]
    assert (problem["evidence"], crops[0]["of"]) == ([[*paged.EVIDENCE]], [*paged.SIZE])
