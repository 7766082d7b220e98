"""Compare what virc refers to with the repositories of the authors: `python tests/published/verify.py GIT_DIRECTORY...`

Of each system whose sources the git directories have: digest, length and slots of every text; then the tests of the
system run with these texts: rendered conversations, what judges are asked, rewards and boxes that the authors' program
gave. `tested.json` of the system says so, in digests and numbers.

`--write` puts lengths and digests into `texts.yaml`, and runs no test. `--leaks` finds runs of twelve words that a
repository has and this one, too. `--records FOLDER` adds what tests wrote with `VIRC_RECORD=FOLDER`. Exits with 1 where
something differs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "recipes"), str(ROOT)]

from virc.systems import registry as systems  # noqa: E402
from virc.systems import texts  # noqa: E402
from virc.systems.catalog.support import TESTED, Record, Verified, tested  # noqa: E402
from virc.systems.texts import Reference, Texts, extract  # noqa: E402

ZOO = ROOT / "recipes" / "virc_zoo"
RUN = 12
"""Words in a row that are no coincidence."""
_WORD = re.compile(r"\w+")
_BETWEEN = re.compile(r'"\s*[\]:,}]|[\[{]\s*"')
"""What ends a string of JSON, or begins one."""
_CODE = (".py", ".md", ".txt", ".prompt", ".sh", ".yaml", ".yml", ".json", ".jinja", ".ipynb", ".toml")
_MAX_BYTES = 4 * 2**20


def git(directory: Path, *words: str) -> bytes:
    """Return what git prints about a directory. Raises CalledProcessError."""
    command = ("git", "--git-dir", str(directory), *words)
    return subprocess.run(command, check=True, capture_output=True).stdout


def git_directory(given: Path) -> Path:
    """Return the git directory of a clone, with a working tree or without. Exits where there is none."""
    directory = given / ".git" if (given / ".git").exists() else given
    if not (directory / "HEAD").is_file():
        sys.exit(f"{given} is no clone of a repository")
    return directory


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
        yield name, fault or (f"slots of our own words differ: {sorted(lacking)}" if lacking else None)


def slots(text: str) -> list[str]:
    """Return the names in braces, but for what a command of TeX takes."""
    return [name for command, name in re.findall(r"(?<!\{)(\\\w+)?\{([A-Za-z]\w*)\}", text) if not command]


def put(file: Path, name: str, length: int, digest: str) -> None:
    """Write length and digest of a text into its entry, whatever stands there."""
    before, entry, after = re.split(
        rf"(^  {re.escape(name)}:\n(?:    .*\n|\n)*)", file.read_text(), maxsplit=1, flags=re.M
    )
    entry = re.sub(r"^    length: .*$", f"    length: {length}", entry, flags=re.M)
    entry = re.sub(r"^    sha256: .*$", f'    sha256: "{digest}"', entry, flags=re.M)
    file.write_text(before + entry + after)


def leaks(directory: Path, files: Iterable[Path]) -> Iterator[str]:
    """Yield where a file of ours has a run of words of a repository, at commits that are referred to or its newest."""
    commits = {
        each.commit
        for file in systems.discover().files.values()
        if (found := texts.of(file.parent))
        for each in found.sources.values()
        if has(directory, each.commit)
    }
    theirs = set[int]()
    for commit in (*commits, "HEAD"):
        for name in git(directory, "ls-tree", "-r", "--name-only", commit).decode().splitlines():
            if name.endswith(_CODE) and "LICENSE" not in name:
                try:
                    content = git(directory, "show", f"{commit}:{name}")
                except subprocess.CalledProcessError:  # a large file that the snapshot lacks
                    continue
                if len(content) <= _MAX_BYTES:
                    theirs.update(map(hash, runs(content.decode(errors="replace"))))
    for file in files:
        found = next((run for run in runs(file.read_text(errors="replace")) if hash(run) in theirs), None)
        if found:
            yield f"{file.relative_to(ROOT)}: {' '.join(found)}"


def runs(text: str) -> Iterator[tuple[str, ...]]:
    """Yield each run of words within a string, most of which have letters alone: keys and numbers are facts."""
    for part in _BETWEEN.split(text):
        words = [each.lower() for each in _WORD.findall(re.sub(r"\\[nt]", " ", part))]
        for at in range(len(words) - RUN + 1):
            run = tuple(words[at : at + RUN])
            if sum(each.isalpha() for each in run) >= RUN - 3 and "import" not in run:
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


TESTS = ("zoo", "rewards/test_published_total.py", "systems", "making_rows/test_teacher.py", "solving")


def passed(name: str, directories: Iterable[Path]) -> int:
    """Return how many tests of a system pass with its authors' texts; 0: some fail."""
    folder = ZOO / re.sub(r"[-.]", "_", name)
    with TemporaryDirectory() as cache:
        os.environ["VIRC_CACHE"] = cache
        for file in systems.discover().files.values():  # of all systems: modules of tests read those of several
            bring(texts.of(file.parent), directories)
        chosen = f"({name} or {folder.name}) and not ({' or '.join(longer(name)) or 'nothing'})"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not (engine or slow)", "-k", chosen]
        env = {**os.environ, texts.OWN_WORDS: "", "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes")))}
        done = subprocess.run(
            [*command, *(f"tests/{each}" for each in TESTS)], cwd=ROOT, env=env, capture_output=True, text=True
        )
    print(done.stdout if done.returncode else done.stdout.splitlines()[-1])
    return int(re.search(r"(\d+) passed", done.stdout)[1]) if done.returncode == 0 else 0  # type: ignore[index]


def bring(found: Texts | None, directories: Iterable[Path]) -> None:
    """Put the files of a system that the directories have where texts are taken from."""
    for source, files in found.files().items() if found else ():
        assert found
        commit = found.sources[source].commit
        directory = next((each for each in directories if has(each, commit)), None)
        for file in files if directory else ():
            assert directory
            target = texts.place(source, commit) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(git(directory, "show", f"{commit}:{file}"))


def longer(name: str) -> list[str]:
    """Return the names of other systems that begin with this one's."""
    found = [each.name for each in ZOO.iterdir() if each.name.startswith(f"{re.sub(r'[-.]', '_', name)}_")]
    return [*found, *(each.replace("_", "-") for each in found)]


def keep(name: str, record: Record) -> None:
    """Write the record of a system."""
    file = systems.discover().files[name].with_name(TESTED)
    file.write_text(json.dumps({name: msgspec.to_builtins(record)}, indent=1) + "\n")


def main() -> int:
    """Print each fault; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("directories", type=Path, nargs="*", metavar="GIT_DIRECTORY")
    options.add_argument("--write", action="store_true", help="put lengths and digests into texts.yaml")
    options.add_argument("--leaks", action="store_true", help="find runs of twelve words of theirs in our files")
    options.add_argument("--records", type=Path, metavar="FOLDER", help="add what tests recorded")
    chosen = options.parse_args()
    for file in sorted(chosen.records.glob("*.json")) if chosen.records else ():
        for name, record in msgspec.json.decode(file.read_bytes(), type=dict[str, Record]).items():
            keep(name, msgspec.structs.replace(record, verified=tested().get(name, Record()).verified))
    chosen.directories = [git_directory(each) for each in chosen.directories]
    failed = False
    for name, file in sorted(systems.discover().files.items()):
        failed |= not verified(name, file.parent, chosen.directories, chosen.write)
    for directory in chosen.directories if chosen.leaks else ():
        for leak in leaks(directory, ours()):
            failed = True
            print(f"leak: {leak}")
    return int(failed)


def verified(name: str, folder: Path, directories: list[Path], write: bool) -> bool:
    """Compare a system with the directories, if they have all its sources, and record it; return if it is right."""
    found = texts.of(folder)
    if not found or not all(any(has(each, source.commit) for each in directories) for source in found.sources.values()):
        return True
    faults = {key: fault for each in directories for key, fault in compared(each, folder, write) if fault}
    print(f"{name}: {len(found.texts)} texts", *(f"{key}: {fault}" for key, fault in faults.items()), sep="\n  ")
    count = 0 if faults or write else passed(name, directories)
    if count:
        record = tested().get(name, Record())
        digest = found.digest(systems.get(name).chat_protocol)
        keep(name, msgspec.structs.replace(record, verified=Verified(digest, count)))
    return not faults and bool(count or write)


if __name__ == "__main__":
    sys.exit(main())
