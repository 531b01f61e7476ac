"""Pages as headless Chromium shows them, and what is in their HTML."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-component-update", "--disable-background-networking", "--disable-sync", "--disable-extensions",
         "--hide-scrollbars"]


def browse(page, folder, *words):
    """Opens the page in Chromium and returns what that prints."""
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("CI has no Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return subprocess.run([CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *words, page.as_uri()],
                          capture_output=True, text=True, timeout=120, check=True).stdout


class Tags(HTMLParser):
    """All tags, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assert_self_contained(text):
    """The page loads nothing, and has no scripts but in attributes."""
    tags = Tags(text).found
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {name for name, _ in tags}
    for _, attributes in tags:
        assert not {"srcset", "href", "background", "xlink:href", "data", "http-equiv"} & set(attributes)
        assert attributes.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
    assert not re.search(r"https?://|@import|url\(", text)
