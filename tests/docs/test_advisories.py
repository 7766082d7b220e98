"""The audit of known advisories, by pip-audit against a database of one's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import ROOT
from support.loopback import Connection, Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KNOWN = {
    "diskcache": {"id": "GHSA-w8v5-vhqr-4h9v", "aliases": ["CVE-2025-69872"], "affected": []},
    "pillow": {"id": "GHSA-aaaa", "aliases": ["CVE-2026-40192"], "affected": []},
}
ACCEPTED = """[[accepted]]
package = "diskcache"
advisory = "CVE-2025-69872"
why = "nothing writes it"
until = {until}
"""


class Database(Connection):
    """OSV's interface for one package with one version."""

    def post(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = KNOWN.get(asked["package"]["name"])
        body = json.dumps({"vulns": [found | {"summary": "s", "details": "d"}]} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def audited(folder: Path, url: str, until: str, *pins: str) -> subprocess.CompletedProcess[str]:
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/advisories", folder / ".ci")
    (folder / ".ci/advisories.toml").write_text(ACCEPTED.format(until=until))
    (folder / "sft-cpu.txt").write_text("\n".join(pins))
    env = {**os.environ, "OSV_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, folder / ".ci/advisories", folder / "sft-cpu.txt"]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("until", "pins", "code", "rows"),
    [
        ("2999-12-31", ("diskcache==5.6.3", "six==1.17.0"), 0, ["until 2999-12-31: nothing writes it"]),
        ("2020-12-31", ("diskcache==5.6.3", "six==1.17.0"), 1, ["no"]),
        ("2999-12-31", ("pillow==11.3.0",), 1, ["no"]),
        ("2999-12-31", ("six==1.17.0",), 0, []),
    ],
)  # fmt: skip
def test_advisories_are_listed_and_those_that_are_not_accepted_fail(
    until: str, pins: tuple[str, ...], code: int, rows: list[str], tmp_path: Path
) -> None:
    server = Loopback(Database)
    with server.running():
        done = audited(tmp_path, f"{server.address}/v1/query", until, *pins)
    assert done.returncode == code, done.stderr
    head, *found = done.stdout.splitlines()
    assert head.split()[0] == "package"
    assert [line.split("sft-cpu  ")[1] for line in found] == rows
    assert all(line.split()[:2] == pins[0].split("==") and "CVE-20" in line for line in found)


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    done = audited(tmp_path, "http://127.0.0.1:9/v1/query", "2999-12-31", "six==1.17.0")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing was checked" in done.stderr


def test_what_is_missing_is_named() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci/advisories"], env={"PATH": ""}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "advisories: uv is not on the PATH: python -m pip install uv\n")
