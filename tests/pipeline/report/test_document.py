"""What a page may run."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

from markupsafe import Markup
from plotly.offline import get_plotlyjs_version

from pipeline.report.document import document, plotly_bundle
from tests.browser import Browser


def test_the_bundle_is_of_the_plotly_that_makes_the_figures() -> None:
    text = gzip.decompress(base64.b64decode(plotly_bundle()[0])).decode()
    version = re.search(r"plotly\.js \(cartesian - minified\) v(\S+)", text)
    assert version is not None
    assert version[1] == get_plotlyjs_version()


def test_a_script_that_is_not_the_pages_does_not_run(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    body = Markup("<p>a</p><script>document.title = 'changed'</script><b onclick='1'>b</b>")
    page.write_text(document("title", body, "document.body.dataset.ran = 'yes';"), encoding="utf-8")
    browser.open(page)
    assert browser.run("document.title") == "title"
    assert browser.run("document.body.dataset.ran") == "yes"
    assert any("Content Security Policy" in fault for fault in browser.faults)
    browser.faults.clear()


def test_a_name_that_is_not_unicode_is_shown() -> None:
    page = document("a\udcff", Markup("b\udcff"), "")
    assert page.encode()
    assert "<title>a?</title>" in page
