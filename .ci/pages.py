"""Hook of mkdocs: the pages beside README.md join the site, README.md as its first page, and links lead to pages.

A link to a file of the repository that is no page leads there where REPOSITORY_URL is set, and is plain text elsewhere.
"""

import posixpath
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
from as_published import installed, linked, pictured  # noqa: E402

PAGES = {"README.md": "index.md"} | {
    name: name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
}


def on_config(config: Any) -> None:
    """Link the repository in the footer: the theme's own link has each reader's browser ask GitHub for its stars."""
    if link := config["extra"]["repository"]:
        config["extra"]["social"] = [{"icon": "material/source-repository", "link": link, "name": "Source"}]


def on_files(files: Files, config: Any) -> Files:
    """Add the pages beside README.md."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=published(text, source, page, config["extra"]["repository"])))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Mend the links of a page of docs/; the others have been mended when they were added."""
    name = page.file.src_uri
    if name in PAGES.values():
        return markdown
    return pictured(published(markdown, f"docs/{name}", name, config["extra"]["repository"]), name)


def published(text: str, source: str, page: str, repository: str | None) -> str:
    """The text of a page with links from its place on the site, in place of those from its place in the repository."""

    def target_of(target: str, is_picture: bool) -> str | None:
        path, mark, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        on_site = PAGES.get(file, file.removeprefix("docs/") if file.startswith("docs/") else None)
        if on_site:
            return f"{posixpath.relpath(on_site, posixpath.dirname(page) or '.')}{mark}{anchor}"
        return f"{repository.rstrip('/')}/blob/main/{file}" if repository else None

    return linked(installed(text), target_of)
