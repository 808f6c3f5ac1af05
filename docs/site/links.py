"""Are the links of the built site whole, and does it do without the network?

python docs/site/links.py build/docs              # dead links inside, and whatever a page would load from outside
python docs/site/links.py build/docs --external   # list the links that lead outside, with the pages they stand on
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """Anchors, links and loaded files of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in LOADS and found.get(LOADS[tag]):
            self.loads.append(found[LOADS[tag]])


def read(site):
    """Every page of the site, by its path."""
    return {path: Page(path) for path in sorted(site.resolve().rglob("*.html"))}


def faults(pages):
    """What is wrong, a sentence each."""
    out = []
    for path, page in pages.items():
        out += [f"{path.name} loads {url} from the network" for url in page.loads if _outside(url)]
        for url in [*page.links, *page.loads]:
            parts = urlsplit(url)
            if _outside(url) or parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                out.append(f"{path.name}: {url} is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                out.append(f"{path.name}: {url} has no such place")
    return out


def external(pages):
    """Links that lead outside, with the names of the pages."""
    out = {}
    for path, page in pages.items():
        for url in page.links:
            if _outside(url):
                out.setdefault(url, []).append(path.stem)
    return out


def _outside(url):
    return url.startswith(("http:", "https:", "//"))


if __name__ == "__main__":
    pages = read(Path(sys.argv[1]))
    if "--external" in sys.argv[2:]:
        for url, names in sorted(external(pages).items()):
            print(url, "on", ", ".join(names) if len(names) < len(pages) - 1 else "every page")
        sys.exit()
    wrong = faults(pages)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values()):,} links, {len(wrong)} of them dead; "
          f"{len(external(pages))} lead outside (--external lists them)")  # fmt: skip
    sys.exit(bool(wrong))
