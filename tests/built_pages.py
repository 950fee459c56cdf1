"""What is wrong with pages that were built: links that lead nowhere, things that other machines would have to send."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def broken_links(folder: Path) -> list[str]:
    """Links, pictures, scripts and anchors of the built pages that lead nowhere, as `page: target`."""

    class Page(HTMLParser):
        def __init__(self, text: str):
            super().__init__()
            self.targets: list[str] = []
            self.ids: set[str] = set()
            self.feed(text)

        def handle_starttag(self, tag: str, attributes: list) -> None:
            for name, value in attributes:
                if name in ("href", "src") and value:
                    self.targets.append(value)
                elif name in ("id", "name") and value:
                    self.ids.add(value)

    pages = {p: Page(p.read_text(encoding="utf-8")) for p in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for target in dict.fromkeys(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            known = pages.get(to)
            dead = not to.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.ids)
            if dead:
                found.append(f"{path.relative_to(folder)}: {target}")
    return found


def external(folder: Path) -> list[str]:
    """What pages would fetch from other machines when they are opened (links that a person clicks are none of it)."""
    loads = re.compile(
        r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']((?:https?:)?//[^"']+)"""
        r"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|preload|icon|preconnect)["'])[^>]*\bhref=["']((?:https?:)?//[^"']+)"""
    )
    found = []
    for path in sorted(folder.rglob("*.html")):
        found += [f"{path.relative_to(folder)}: {a or b}" for a, b in loads.findall(path.read_text(encoding="utf-8"))]
    return found
