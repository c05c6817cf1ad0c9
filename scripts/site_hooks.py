"""Hooks of MkDocs: the site also has the pages at the root of the repository, and links between both work.

Pages are written for readers on GitHub. For the site, links to the root's pages lead to their copies under `project/`, links
to other files lead to the repository (without `repo_url` they become text), and fences lose the attributes that
`scripts/run_docs.py` reads.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT = {
    f"{name}.md": f"project/{name.lower()}.md"
    for name in ("README", "CONTRIBUTING", "ARCHITECTURE", "SECURITY", "CHANGELOG")
}
"""Pages at the root, and where the site has them."""

_FENCE = re.compile(r"^```(?P<language>[a-z]*)(?P<attributes>[^\n`]*)\n.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages at the root."""
    from mkdocs.structure.files import File

    for name, target in PROJECT.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrite links and fences of a page."""
    return rewrite(markdown, page.file.src_uri, config.repo_url or "")


def rewrite(markdown: str, uri: str, repository: str) -> str:
    """Rewrite links and fences of a page.

    Parameters
    ----------
    uri
        Path of the page in the site's source.
    repository
        Address of the repository; empty if unknown.

    Examples
    --------
    >>> rewrite("[a](../README.md#b) [c](concepts.md) [d](../params.yaml)", "index.md", "https://host/repo")
    '[a](project/readme.md#b) [c](concepts.md) [d](https://host/repo/blob/main/params.yaml)'
    >>> rewrite("[a](docs/adr/README.md) [d](LICENSE)", "project/readme.md", "")
    '[a](../adr/README.md) d'
    """
    parts, at = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_links(markdown[at : fence.start()], uri, repository), _fence(fence)]
        at = fence.end()
    return "".join([*parts, _links(markdown[at:], uri, repository)])


def _fence(fence: re.Match[str]) -> str:
    """Keep the language; the name of a file becomes the title."""
    file = re.search(r"\bfile=(\S+)", fence["attributes"])
    title = f' title="{file[1]}"' if file else ""
    return f"```{fence['language']}{title}\n" + fence[0].partition("\n")[2]


def _links(text: str, uri: str, repository: str) -> str:
    origins = {target: name for name, target in PROJECT.items()}
    folder = posixpath.dirname(origins.get(uri, f"docs/{uri}"))

    def link(match: re.Match[str]) -> str:
        path, mark, anchor = match["target"].partition("#")
        if not path or ":" in path:
            return match[0]
        target = posixpath.normpath(posixpath.join(folder, path))
        inside = target.removeprefix("docs/") if target.startswith("docs/") else PROJECT.get(target)
        if inside is not None:
            return f"{match['text']}({posixpath.relpath(inside, posixpath.dirname(uri) or '.')}{mark}{anchor})"
        if repository:
            return f"{match['text']}({repository.rstrip('/')}/blob/main/{target}{mark}{anchor})"
        return match["text"][1:-1]

    return _LINK.sub(link, text)
