"""Publishes a merged model, GGUF files or rows on the hub, with a card."""

import re
import tarfile
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, chain, groupby
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from virc.backends import checkpoint, inventory, lora_config
from virc.backends.gguf import header as gguf
from virc.core.errors import ConfigError, DataError, NetworkError, UnreadError, UsageError, VircError, errors_as
from virc.core.events import OnEvent, Reporter
from virc.core.files import DATA, MODELS, contents, expanded, is_file, is_folder, json_or_none
from virc.core.http.waiting import seconds_asked
from virc.core.retry import retried
from virc.core.tables import parquet
from virc.core.text import clause, counted, plain, sized
from virc.data.formats import registry as formats
from virc.data.rows import raw
from virc.data.rows.llamafactory import INFO
from virc.data.rows.pictures import MAX_IN_FOLDER
from virc.download.hub.content import failures
from virc.download.hub.origin import check_online, silence
from virc.download.hub.refusals import AGAIN, MAX_WAIT, by_status, check_endpoint, host, unreachable
from virc.download.hub.repository import Repo, endpoint
from virc.evaluation.summary import Score
from virc.merging.card import USAGE, with_section
from virc.models import provenance
from virc.models import registry as models
from virc.reasoning.protocol import FILE_NAME
from virc.solving.sources.picture_files import ENDINGS as PICTURES
from virc.systems.names import HUB_ID
from virc.tools.registry import CODE
from virc_extras.push import card as cards
from virc_extras.push import leaks
from virc_extras.push.card import Measured
from virc_extras.push.uploads import MAX_HELD, SearchedFile, Upload

CARD = "README.md"
_WORDS = ("added_tokens.json", "merges.txt", "tokenizer.json", "vocab.json")
"""Files whose words may look like paths."""
_PATHS: Mapping[str, Literal["none", "all"]] = {FILE_NAME: "all", **dict.fromkeys(_WORDS, "none")}
"""How paths are looked for in files of a model."""
_CODE = re.compile(rf"{CODE}/(?:(?!__pycache__/)\w[\w.-]*/)*\w[\w.-]*")
_MAX_TEXT = 64 * 2**20
_LARGE = 10 * 2**20  # bytes, from which a file is uploaded by itself before the commit
_MAX_FILES = 1000  # of one commit
_MAX_IN_FOLDER = 10_000  # https://huggingface.co/docs/hub/storage-limits
_TRIES, _PAUSE = 4, 1.0  # of a commit that others overtake; seconds
_MAX_NAMED = 8  # files with a key or a path
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")


class PushPlan(msgspec.Struct, frozen=True):
    """What is uploaded; nothing is sent yet.

    Args:
        left_out: files, or keys of settings (`config.json: _name_or_path`), that are not uploaded, and why.
    """

    repo: Repo
    public: bool
    folder: Path
    files: tuple[Upload, ...]
    left_out: Mapping[str, str]
    card: str

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def push(
    source: str | Path,
    hub_id: str,
    *,
    public: bool = False,
    dry_run: bool = False,
    ignore: Iterable[str] = (),
    on_event: OnEvent | None = None,
) -> PushPlan:
    """Publish a merged model, a GGUF file or rows on the hub.

    Args:
        source: a run that was merged, a model's name or folder, a GGUF file, or the folder of rows.
        hub_id: OWNER/NAME of the repository, which is made where it is not there.
        public: let everybody see it; otherwise it is private.
        dry_run: send nothing.
        ignore: names of files of weights that are left out.
        on_event: gets progress.

    Raises:
        VircError: as `prepare` and `upload`.
    """
    plan = prepare(str(source), hub_id, public, tuple(ignore))
    if not dry_run:
        upload(plan, on_event)
    return plan


def prepare(name: str, hub_id: str, public: bool = False, ignore: Collection[str] = ()) -> PushPlan:
    """Find what a name means, check its files, and write its card; nothing is sent.

    Raises:
        UsageError: no such hub id can be.
        ConfigError: there is no such model or rows, or the model is not merged.
        DataError: a file contains a key or a path of this machine.
    """
    silence(with_xet=True)
    _check_id(hub_id)
    if not name.strip():
        raise UsageError("the name of what to publish is empty", "virc push RUN|MODEL|ROWS OWNER/NAME")
    rows = next((each for each in (expanded(name), Path(DATA, name)) if _holds_rows(each)), None)
    if rows:
        _check_meant(rows, name)
    folder, only = (rows, None) if rows else _model(name)
    wanted, left_out = _chosen(folder, only, rows is not None, ignore)
    if not rows and not any(_is_weight(each) and not each.startswith("mmproj") for each in wanted):
        raise ConfigError(f"{folder} has no weights", "virc merge RUN makes a model; or download it again")
    if checkpoint.INDEX in wanted and (missing := {*checkpoint.weight_files(folder)}.difference(wanted)):
        raise ConfigError(f"{folder} is incomplete: {min(missing)} is missing", "merge or download it again")
    _check_folders(folder, wanted)
    found = formats.sources(folder) if rows else ()
    search = leaks.LeakSearch()
    files = [*_checked(folder, wanted, left_out, search)]
    if rows:
        sources = {name: each.format for each in found if (name := relpath(each.file, folder)) in wanted}
        card = _own_card(folder) or cards.rows_card(hub_id, sources)
    else:
        card = _model_card(folder, hub_id, wanted, measured(folder, name, only))
    search.look_through(CARD, [("the card", card)])
    search.look_through_names(left_out)
    faults = search.faults()
    _raise_all([fault for name, fault in faults.items() if name not in left_out])
    left_out = {leaks.shortened(name) if name in faults else name: why for name, why in left_out.items()}
    files = [*(file for file in files if file.name != CARD), Upload(CARD, card.encode())]
    return PushPlan(Repo(hub_id, "dataset" if rows else "model"), public, folder, tuple(files), left_out, card)


def upload(plan: PushPlan, on_event: OnEvent | None = None) -> str:
    """Create the repository where there is none, and upload; returns the commit.

    Files that an interrupted upload brought are not sent again. The card is in the last commit.

    Raises:
        ConfigError: the token is missing or may not write there, or the repository is public already.
        DataError: the hub refuses the front matter of the card, before anything else is sent; or a file was changed or
            deleted since `prepare`, and is in no commit.
        NetworkError: the hub cannot be reached, keeps failing, or has not taken all files.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

    check_endpoint()
    check_online(plan.repo)
    report, repo, commit = Reporter(on_event), plan.repo, ""
    api = HfApi(endpoint=endpoint(), library_name="virc")
    with _refusals(plan), warnings.catch_warnings(action="ignore"):
        _check_card(plan)
        ask = partial(retried, passing=_pause_asked, tries=_TRIES, first=_PAUSE)
        ask(partial(api.create_repo, repo.id, repo_type=repo.kind, private=not plan.public, exist_ok=True))
        is_private = api.repo_info(repo.id, repo_type=repo.kind).private
        if not is_private and not plan.public:
            raise ConfigError(f"{repo.url} is public already", "«--public» publishes there; or choose another name")
        if is_private and plan.public:
            raise ConfigError(f"{repo.url} is private already", "change that on its page, or leave «--public» out")
        additions, sent = dict[Upload, CommitOperationAdd](), 0
        for file in (file for file in plan.files if file.size >= _LARGE):
            report.progress(f"{sized(sent)} of {sized(plan.size)} uploaded; {file.name} follows")
            additions[file] = CommitOperationAdd(file.name, file.content())
            ask(partial(api.preupload_lfs_files, repo.id, [additions[file]], repo_type=repo.kind))
            file.check()
            sent += file.size
        for files in _parts(plan.files):
            report.progress(f"committing {counted(len(files), 'file')}")
            part: list[CommitOperationAdd | CommitOperationDelete]
            part = [additions.get(file) or CommitOperationAdd(file.name, file.content()) for file in files]
            if files[-1] is plan.files[-1]:
                old = _replaced(plan, api.list_repo_files(repo.id, repo_type=repo.kind))
                part += [CommitOperationDelete(name) for name in old]
            commit = ask(partial(_committed, api, repo, part))
        there = api.list_repo_tree(repo.id, repo_type=repo.kind, recursive=True)
        _check_taken(plan, {file.path: file.size for file in there if isinstance(file, RepoFile)})
    return commit


def _parts(files: Sequence[Upload]) -> Iterator[list[Upload]]:
    """The files of each commit, whose contents but for large ones are in memory at once."""
    sizes = accumulate(file.size if file.size < _LARGE else 0 for file in files)
    parts = {
        file: (at // _MAX_FILES, size // MAX_HELD) for at, (file, size) in enumerate(zip(files, sizes, strict=True))
    }
    return ([*part] for _, part in groupby(files, parts.__getitem__))


def _committed(api: Any, repo: Repo, part: Sequence[Any]) -> str:
    return str(api.create_commit(repo.id, part, commit_message="Upload by virc push", repo_type=repo.kind).oid)


def _pause_asked(error: Exception, pause: float) -> float | None:
    """The pause before the next try: on a branch to which somebody else has committed, or of a hub that is busy."""
    answer = getattr(error, "response", None)
    if answer is None or answer.status_code not in (412, 429):
        return None
    asked = seconds_asked(answer.headers, getattr(error, "server_message", None) or "")
    return None if asked is not None and asked > MAX_WAIT else max(asked or 0, pause)


def _check_card(plan: PushPlan) -> None:
    from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined, unused-ignore]

    answer = get_session().post(
        f"{endpoint()}/api/validate-yaml",
        json={"repoType": plan.repo.kind, "content": plan.card},
        headers=build_hf_headers(library_name="virc"),
    )
    if answer.status_code == 400:
        said = "; ".join(plain(str(each.get("message")), 200) for each in answer.json().get("errors", []))
        hint = f"mend the lines between --- and --- at the beginning of {plan.folder / CARD}"
        raise DataError(f"{host(plan.repo)} refuses the card: {said or 'its front matter is not valid'}", hint)


def _check_folders(root: Path, names: Iterable[str]) -> None:
    """Raises DataError: the hub would refuse a commit, after those before it."""
    for folder, count in Counter(str(PurePosixPath(name).parent) for name in names).items():
        if count > _MAX_IN_FOLDER:
            sentence = f"{root / folder} has {count:,} files, and the hub takes at most {_MAX_IN_FOLDER:,} in a folder"
            raise DataError(sentence, f"virc data convert SRC --to NEW puts at most {MAX_IN_FOLDER:,} pictures in each")


def _check_taken(plan: PushPlan, there: Mapping[str, int]) -> None:
    """Raises NetworkError: the hub has not taken all files, or others than were sent."""
    missing = [file.name for file in plan.files if there.get(file.name) != file.size]
    if not missing:
        return
    named = ", ".join(missing[:_MAX_NAMED]) + ", …" * (len(missing) > _MAX_NAMED)
    sentence = f"{host(plan.repo)} has not taken {counted(len(missing), 'file')} of {len(plan.files)}: {named}"
    is_ignoring = ".gitignore" in there
    raise NetworkError(sentence, f"delete .gitignore on {plan.repo.url}, and push again" if is_ignoring else AGAIN)


def _replaced(plan: PushPlan, there: Iterable[str]) -> list[str]:
    """Files on the hub that stand for what is uploaded now under other names: weights or rows in other shards."""
    new = {file.name for file in plan.files}
    stems = {match.groups() for match in map(_SHARD.fullmatch, new) if match}
    has_weights = any(name.endswith(".safetensors") for name in new) and plan.repo.kind == "model"

    def stands_for_new(name: str) -> bool:
        if has_weights and (name == checkpoint.INDEX or (_is_weight(name) and not name.endswith(".gguf"))):
            return True
        match = _SHARD.fullmatch(name)
        return match is not None and match.groups() in stems

    return [name for name in there if name not in new and stands_for_new(name)]


def _check_id(hub_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined, unused-ignore]

    sentence, hint = f"{plain(repr(hub_id), 100)} is not a hub id", "a hub id is OWNER/NAME"
    if not re.fullmatch(HUB_ID, hub_id):
        raise UsageError(sentence, hint)
    try:
        validate_repo_id(hub_id)
    except HFValidationError as error:
        raise UsageError(f"{sentence}: {clause(error)}", hint) from None


def _check_meant(rows: Path, name: str) -> None:
    """Raise ConfigError: the folder of rows is a workspace, or a model or run has the same name."""
    inner = [each for each in (MODELS, "runs", "evals") if is_folder(rows / each)]
    if inner:
        raise ConfigError(f"{rows} is a workspace: it holds {', '.join(inner)}", "name the folder of the rows")
    others = [each for each in (Path(MODELS, name), Path("runs", name)) if is_folder(each)]
    if rows == Path(DATA, name) and others:
        raise ConfigError(f"{name} is {rows} and {others[0]}", f"say {rows}, or {others[0]}")


def measured(folder: Path, name: str, only: Path | None = None) -> list[Measured]:
    """The results of `virc eval` for a model, newer than its weights; `only`: a GGUF file published alone."""
    origin = provenance.read_provenance(folder)
    names = {name, folder.name, str(folder), *([origin.source] if origin else [])}
    names = {name, only.name, str(only)} if only else names
    weights = [file.stat().st_mtime for file in folder.iterdir() if _is_weight(file.name)]
    found = []
    for file in sorted(Path("evals").glob("*/summary.json")):
        summary = json_or_none(file, _Summary, _MAX_TEXT)
        if summary and file.stat().st_mtime > max(weights, default=0):
            found += [
                Measured(summary.benchmark, each.score, each.settings) for each in summary.models if each.name in names
            ]
    return found


class _Evaluated(msgspec.Struct):
    name: str
    score: Score
    settings: dict[str, Any] = {}


class _Summary(msgspec.Struct):
    benchmark: str
    models: list[_Evaluated]


def _holds_rows(place: Path) -> bool:
    """Raises UsageError: the place is a file of rows, which has no images."""
    if is_file(place) and place.suffix.lower() in raw.ENDINGS:
        raise UsageError(f"{place} is one file of rows, without its images", f"name its folder, {place.parent}")
    others = ("config.json", "adapter_config.json", "run.json")
    if not is_folder(place) or any(is_file(place / each) for each in others) or any(place.glob("*.gguf")):
        return False
    return any(each.suffix.lower() in raw.ENDINGS for each in place.iterdir())


def _model(name: str) -> tuple[Path, Path | None]:
    """The folder of a merged model, and the GGUF file in it that was named alone."""
    merged = provenance.merged_from(name, Path())
    if len(merged) > 1 and not is_folder(Path(MODELS, name)):
        folders = " or ".join(str(each) for each in merged)
        raise ConfigError(f"several models were merged from {name}", f"name one: {folders}")
    found = models.find(str(next(iter(merged))) if len(merged) == 1 else name, Path(), with_gguf=True)
    if found.adapter or models.run_of(found.folder):
        raise ConfigError(f"{found.name} is not merged", f"virc merge {name}, then virc push")
    return found.folder, found.gguf.file if found.gguf else None


def _chosen(folder: Path, only: Path | None, rows: bool, ignore: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """The names of the files to upload, and of others with why they are left out; `only` is one GGUF file."""
    wanted, left_out = [], {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        target, inside = path.resolve(), folder.resolve()
        if not target.is_relative_to(inside):
            left_out[name] = "a link out of the folder"
        elif any(part.startswith(".") for part in (*name.split("/"), *target.relative_to(inside).parts)):
            left_out[name] = "hidden"
        elif not target.is_file():
            left_out[name] = "not a file"
        elif why := _no_rows(name) if rows else _no_part(name, only, ignore):
            left_out[name] = why
        else:
            wanted.append(name)
    return wanted, left_out


def _no_rows(name: str) -> str | None:
    ending = Path(name).suffix.lower()
    known = ending in {*raw.ENDINGS, *PICTURES, ".md"} or inventory.kind_of(name) == "licences"
    return None if known else "neither rows nor an image"


def _no_part(name: str, only: Path | None, ignore: Collection[str]) -> str | None:
    if only and _is_weight(name) and name != only.name and not name.startswith("mmproj"):
        return f"only {only.name} is wanted"
    kind = inventory.kind_of(name)
    known = "/" not in name and kind in ("settings", "texts", "licences") and name != lora_config.SETTINGS
    if known or name in (checkpoint.INDEX, CARD) or _is_weight(name) or _CODE.fullmatch(name):
        return None
    if kind == "weights" and name not in ignore:
        hint = f"merge them into the model, or move them away; «--ignore {plain(name, 100)}» leaves them out"
        raise ConfigError(f"{plain(name, 100)} has weights, and no program reads them with this model", hint)
    return "not part of a model"


def _is_weight(name: str) -> bool:
    return "/" not in name and (name.endswith(".gguf") or (name.startswith("model") and name.endswith(".safetensors")))


def _checked(
    folder: Path, names: Sequence[str], left_out: dict[str, str], search: leaks.LeakSearch
) -> Iterator[Upload]:
    """The files of these names; `search` gets their names, their texts, and why one cannot be read."""
    search.look_through_names(names)
    for name in names:
        try:
            with errors_as(DataError, f"{name} cannot be read"):
                file = SearchedFile(name, folder / name)
                content = _searched(folder / name, name, left_out, search)
                file.finish()
        except DataError as fault:
            search.refuse(name, fault)
        else:
            yield file if content is None else Upload(name, content)


def _raise_all(faults: Sequence[DataError]) -> None:
    if faults:
        more = f"; {counted(len(faults) - _MAX_NAMED, 'more file')}" if len(faults) > _MAX_NAMED else ""
        raise DataError("; ".join(fault.message for fault in faults[:_MAX_NAMED]) + more, faults[0].hint)


def _searched(file: Path, name: str, left_out: dict[str, str], search: leaks.LeakSearch) -> bytes | None:
    """What is sent instead of the file, if anything."""
    if file.name == INFO or (inventory.kind_of(file.name) == "settings" and file.suffix == ".json"):
        with errors_as(DataError, f"{file} cannot be read", caught=(OSError, ValueError)):
            content, removed = leaks.without_paths(contents(file, _MAX_TEXT))
        left_out |= {f"{name}: {key}": "a path of this machine" for key in removed}
        search.look_through(name, [("as it is uploaded", content.decode())])
        return content
    if file.suffix.lower() in (".parquet", ".arrow", ".feather"):
        schema = "\n".join(leaks.strings(_schema_texts(file)))
        search.look_through(name, chain([("in its schema", schema)], _row_texts(file, name)), "own")
    elif file.suffix.lower() == ".tar":
        search.look_through(name, _members(file, name))
    elif _is_weight(name):
        about = gguf.read_header(file) if file.suffix.lower() == ".gguf" else checkpoint.metadata(file)
        search.look_through(name, [("in its header", "\n".join(leaks.strings(about)))], "own")
    elif file.suffix.lower() not in PICTURES or not leaks.is_picture(file):
        cells = _row_texts(file, name) if file.suffix.lower() in (".csv", ".tsv") else ()
        paths: leaks.Paths = "own" if file.suffix.lower() in raw.ENDINGS else "all"
        search.look_through(name, chain(leaks.lines(file), cells), _PATHS.get(name, paths))
    return None


def _row_texts(file: Path, name: str) -> Iterator[tuple[str, str]]:
    """Raises DataError: a row has compressed bytes, or cannot be read."""
    number = 0
    try:
        for number, row in raw.rows(file):
            if isinstance(row, DataError):
                raise row
            yield f"row {number}", "\n".join(leaks.strings(row))
    except DataError as fault:
        place = f"row {number}: " if number and not isinstance(fault, UnreadError) else ""
        raise DataError(f"{name}: {place}{fault.message}", fault.hint or "write it again, or leave it out") from None


def _members(file: Path, name: str) -> Iterator[tuple[str, str]]:
    """Raises DataError: a member is hidden, too large to be looked through, or the shard cannot be read."""
    with errors_as(DataError, f"{file} cannot be read", caught=(OSError, tarfile.TarError)):
        with tarfile.open(file, "r:") as shard:
            for number, member in enumerate(shard, 1):
                path = Path(member.name)
                about = (member.name, member.linkname, *member.pax_headers.values())
                yield f"in the name of member {number}", "\n".join(about)
                if any(part.startswith(".") for part in path.parts):
                    raise DataError(f"{name} contains the hidden file {plain(member.name, 80)}", "leave it out")
                opened = shard.extractfile(member)
                content = opened.read(_MAX_TEXT) if opened else b""
                if path.suffix.lower() in PICTURES and leaks.is_picture(content):
                    continue
                if member.size > _MAX_TEXT:
                    raise DataError(f"{name} contains {plain(member.name, 80)}, which is too large", "leave it out")
                leaks.refuse_compressed(content, f"{name}, {plain(member.name, 80)},")
                yield plain(member.name, 80), leaks.text_of(content)
        with file.open("rb") as opened:
            opened.seek(shard.offset)
            if any(any(piece) for piece in iter(partial(opened.read, _LARGE), b"")):
                raise DataError(f"{name} goes on behind its last member", "write it again, or leave it out")


def _own_card(folder: Path) -> str | None:
    file = folder / CARD
    return contents(file, _MAX_TEXT).decode(errors="replace") if is_file(file) else None


def _model_card(folder: Path, hub_id: str, names: Sequence[str], results: Sequence[Measured]) -> str:
    head = "---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n---\n\n"
    card = _own_card(folder) or f"{head}# {hub_id.rpartition('/')[2]}\n"
    if not any(name.endswith(".safetensors") for name in names):
        card = card.replace("library_name: transformers\n", "", 1)
    if results:
        card = with_section(card, cards.MEASURED, cards.measured(results))
    return with_section(card, USAGE, cards.usage(hub_id, names))


@contextmanager
def _refusals(plan: PushPlan) -> Iterator[None]:
    """Says why an upload ended; first which file was changed or deleted, of which hub and library may say anything."""
    try:
        yield
    except VircError:
        raise
    except Exception as error:
        for file in plan.files:
            file.check()
        raise _refusal(error, plan.repo) from None


def _refusal(error: Exception, repo: Repo) -> Exception:
    from huggingface_hub.constants import HF_HUB_DISABLE_XET
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status, headers = error.response.status_code, error.response.headers
        said = plain(error.server_message or headers.get("X-Error-Message") or "", 400)
        if status == 401:
            hint = "`hf auth login`, or set HF_TOKEN to a token that may write"
            return ConfigError(f"{host(repo)} takes no upload without a valid token", hint)
        if status == 403:
            sentence = f"{host(repo)} forbids to write {repo.id}{said and f': {said}'}"
            owner = repo.id.partition("/")[0]
            return ConfigError(sentence, f"a token that may write, of an account that may write to {owner}")
        return by_status(status, headers, repo, said=said)
    if not isinstance(error, (RuntimeError, *failures())):
        return error
    if isinstance(error, RuntimeError) or "/xet-" in str(error):
        by, how = ("", "") if HF_HUB_DISABLE_XET else (" by Xet", "; HF_HUB_DISABLE_XET=1 uploads without Xet")
        return NetworkError(f"{host(repo)} did not take a file{by}: {clause(error)}", f"{AGAIN}{how}")
    return unreachable(error, repo)


def _schema_texts(file: Path) -> dict[str, Any]:
    """What a parquet or Arrow file says besides its rows: its metadata, and its columns with theirs.

    Raises DataError: it cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        opened = parquet.open_file(file)
        schema, metadata = opened.schema_arrow, dict(opened.metadata.metadata or {})
        metadata.pop(b"ARROW:schema", None)  # the same schema, encoded
    else:
        parquet.load()
        import pyarrow  # type: ignore[import-untyped, unused-ignore]

        # pyarrow raises nearly everything on hostile bytes
        with errors_as(DataError, f"{file} cannot be read", caught=Exception), pyarrow.memory_map(str(file)) as mapped:
            schema = raw.opened_ipc(mapped).schema
        metadata = schema.metadata
    return {"metadata": _as_texts(metadata), "columns": [_column_texts(column) for column in schema]}


def _column_texts(column: Any) -> dict[str, Any]:
    inner = [_column_texts(column.type.field(index)) for index in range(column.type.num_fields)]
    return {column.name: {"metadata": _as_texts(column.metadata), "columns": inner}}


def _as_texts(metadata: Any) -> dict[str, str]:
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in (metadata or {}).items()}
