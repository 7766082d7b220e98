"""Compare what virc refers to with the repositories of the authors: `python tests/published/verify.py GIT_DIRECTORY...`

Of each system whose sources a git directory has: the digest, length and slots of every text. `--write` puts lengths and
digests into `texts.yaml`. `--leaks` finds runs of twelve words that the repository has and this one, too. Exits with 1
where something differs.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "recipes"), str(ROOT)]

from virc.systems import texts  # noqa: E402
from virc.systems.texts import Reference, Texts, extract  # noqa: E402

ZOO = ROOT / "recipes" / "virc_zoo"
RUN = 12
"""Words in a row that are no coincidence."""
_WORD = re.compile(r"\w+")
_CODE = (".py", ".md", ".txt", ".prompt", ".sh", ".yaml", ".yml", ".json", ".jinja", ".ipynb", ".toml")
_MAX_BYTES = 4 * 2**20


def git(directory: Path, *words: str) -> bytes:
    """Return what git prints about a directory. Raises CalledProcessError."""
    command = ("git", "--git-dir", str(directory), *words)
    return subprocess.run(command, check=True, capture_output=True).stdout


def has(directory: Path, commit: str) -> bool:
    """Return whether a git directory has a commit."""
    try:
        git(directory, "cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def taken(directory: Path, found: Texts, reference: Reference) -> str:
    """Return the text of a reference. Raises ValueError, CalledProcessError: the directory does not have it."""
    commit = found.sources[found.source_of(reference)].commit
    return extract(reference, git(directory, "show", f"{commit}:{reference.file}"))


def compared(directory: Path, folder: Path, write: bool) -> Iterator[tuple[str, str | None]]:
    """Yield each text of a system whose source the directory has, with what is wrong with it."""
    found = texts.of(folder)
    for name, reference in found.texts.items() if found else ():
        assert found
        if not has(directory, found.sources[found.source_of(reference)].commit):
            continue
        try:
            text = taken(directory, found, reference)
        except (ValueError, subprocess.CalledProcessError) as error:
            yield name, str(error)
            continue
        digest = sha256(text.encode()).hexdigest()
        if write:
            put(folder / texts.FILE, name, len(text), digest)
        same = (len(text), digest) == (reference.length, reference.sha256)
        fault = None if same or write else f"{len(text)} characters, {digest[:12]}; referred to: {reference.length}"
        lacking = set(slots(text)) ^ set(slots(reference.own))
        yield name, fault or (f"slots of our own wording differ: {sorted(lacking)}" if lacking else None)


def slots(text: str) -> list[str]:
    """Return the names in braces."""
    return re.findall(r"(?<!\{)\{(\w+)\}", text)


def put(file: Path, name: str, length: int, digest: str) -> None:
    """Write length and digest of a text into its entry, whatever stands there."""
    before, entry, after = re.split(
        rf"(^  {re.escape(name)}:\n(?:    .*\n|\n)*)", file.read_text(), maxsplit=1, flags=re.M
    )
    entry = re.sub(r"^    length: .*$", f"    length: {length}", entry, flags=re.M)
    entry = re.sub(r"^    sha256: .*$", f'    sha256: "{digest}"', entry, flags=re.M)
    file.write_text(before + entry + after)


def leaks(directory: Path, commits: Iterable[str], files: Iterable[Path]) -> Iterator[str]:
    """Yield where a file of ours has a run of words of a repository."""
    theirs = set[tuple[str, ...]]()
    for commit in commits:
        for name in git(directory, "ls-tree", "-r", "--name-only", commit).decode().splitlines():
            if name.endswith(_CODE) and "LICENSE" not in name:
                try:
                    content = git(directory, "show", f"{commit}:{name}")
                except subprocess.CalledProcessError:  # a snapshot may lack its largest files
                    continue
                theirs.update(runs(content.decode(errors="replace"))) if len(content) <= _MAX_BYTES else None
    for file in files:
        found = next((run for run in runs(file.read_text(errors="replace")) if run in theirs), None)
        if found:
            yield f"{file.relative_to(ROOT)}: {' '.join(found)}"


def runs(text: str) -> Iterator[tuple[str, ...]]:
    """Yield each run of words, most of which have letters: rows of numbers are facts."""
    words = [each.lower() for each in _WORD.findall(re.sub(r"\\[nt]", " ", text))]
    for at in range(len(words) - RUN + 1):
        run = tuple(words[at : at + RUN])
        if sum(len(each) > 2 and each.isalpha() for each in run) >= RUN // 2:
            yield run


def ours() -> list[Path]:
    """Return the files of the zoo and of its tests."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "recipes", "tests", "docs", "virc_cli"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return [
        ROOT / name
        for name in names
        if name.endswith((".py", ".yaml", ".json", ".md", ".toml")) and (ROOT / name).is_file()
    ]


def main() -> int:
    """Print each fault; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("directories", type=Path, nargs="+", metavar="GIT_DIRECTORY")
    options.add_argument("--write", action="store_true", help="put lengths and digests into texts.yaml")
    options.add_argument("--leaks", action="store_true", help="find runs of twelve words of theirs in our files")
    chosen = options.parse_args()
    failed = False
    for directory in chosen.directories:
        commits = set[str]()
        for folder in sorted(file.parent for file in ZOO.glob(f"*/{texts.FILE}")):
            results = list(compared(directory, folder, chosen.write))
            found = texts.of(folder)
            commits |= (
                {each.commit for each in found.sources.values() if has(directory, each.commit)} if found else set()
            )
            for name, fault in results:
                failed |= fault is not None
                print(f"{folder.name} {name}: {fault or 'same'}")
        for leak in leaks(directory, commits, ours()) if chosen.leaks else ():
            failed = True
            print(f"leak: {leak}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
