"""The API's page for people in a real browser: it renders, stays at home, and can be read."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import Installation
from tests.system.proxy import run_nginx

pytestmark = pytest.mark.system("chromium")

# Nothing a browser does by itself may look like a request of the page.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
SCREENSHOTS = "GATEWAY_TEST_SCREENSHOTS"
"""Names a folder that keeps the pictures; without it they are thrown away."""

WATCH_POLICY = """
window.violations = [];
document.addEventListener('securitypolicyviolation', event =>
    window.violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""
WIDER_THAN_THE_PAGE = """() => [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(one => one.tagName + ' ' + one.textContent.trim().slice(0, 60))"""
# WCAG 2.1, 1.4.3: the ratio of the relative luminances of text and what lies behind it.
WEAK_CONTRAST = """() => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.backgroundColor = 'Canvas';
    const canvas = getComputedStyle(probe).backgroundColor;
    probe.remove();
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = text => parts(text).slice(0, 3).map(value => value / 255)
        .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
        .reduce((sum, value, at) => sum + value * [.2126, .7152, .0722][at], 0);
    const behind = one => {
        for (; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor;
            if (parts(color)[3] !== 0) return color;
        }
        return canvas;
    };
    const weak = [];
    for (const one of document.querySelectorAll('body *')) {
        if (![...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
        const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
        if ((pair[0] + .05) / (pair[1] + .05) < 4.5) weak.push(one.textContent.slice(0, 60));
    }
    return [canvas, weak];
}"""


@dataclass
class Visit:
    """A page and everything it did."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(WATCH_POLICY)

    def open(self, url: str) -> None:
        """Load the page and expect 200."""
        answer = self.page.goto(url, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Visit]:
    """A fresh browser profile; ``indirect`` parameters are options of its context."""
    options: dict[str, Any] = getattr(request, "param", {})
    context = browser.new_context(**options)
    yield Visit(context.new_page())
    context.close()


def test_every_operation_is_listed_and_nothing_else_is_loaded(
    installation: Installation, visit: Visit
) -> None:
    visit.open(f"{installation.api}docs")
    with urlopen(f"{installation.api}openapi.json") as answer:
        document = json.load(answer)
    operations = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    headings = visit.page.locator("main section[id] > h2 code").all_inner_texts()
    listed = visit.page.locator("nav a code").all_inner_texts()
    assert sorted(headings) == sorted(listed) == sorted(map(" ".join, operations))
    text = visit.page.inner_text("body")
    assert ("`" in text, "<code" in text) == (False, False)
    assert visit.requests == [f"{installation.api}docs"]
    assert visit.console == []
    assert visit.page.evaluate("window.violations") == []


def test_every_link_leads_somewhere(installation: Installation, visit: Visit) -> None:
    visit.open(f"{installation.api}docs")
    broken = visit.page.evaluate(
        """() => [...document.links].filter(link => link.hash &&
            !document.getElementById(decodeURIComponent(link.hash.slice(1)))).map(String)"""
    )
    assert broken == []
    visit.page.locator("nav a").last.click()
    assert visit.page.locator(":target > h2").is_visible()
    visit.page.get_by_role("link", name="openapi.json", exact=True).click()
    assert json.loads(visit.page.inner_text("body"))["openapi"].startswith("3.1")


@pytest.mark.parametrize(
    "visit",
    [
        {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        for width in (375, 1280)
        for scheme in ("light", "dark")
    ],
    ids=lambda options: f"{options['viewport']['width']}-{options['color_scheme']}",
    indirect=True,
)
def test_the_page_can_be_read(
    installation: Installation, visit: Visit, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """No sideways scrolling on a phone or a desk, enough contrast by day and by night."""
    visit.open(f"{installation.api}docs")
    folder = Path(os.environ.get(SCREENSHOTS, tmp_path))
    for name, anchor in (("top", ""), ("call", "#postFreebusy"), ("codes", "#problems")):
        visit.page.goto(f"{installation.api}docs{anchor}")
        visit.page.screenshot(path=folder / f"docs-{request.node.callspec.id}-{name}.png")
    page = visit.page
    assert page.evaluate(WIDER_THAN_THE_PAGE) == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    canvas, weak = page.evaluate(WEAK_CONTRAST)
    assert weak == []
    is_dark = request.node.callspec.id.endswith("dark")
    assert (canvas == "rgb(255, 255, 255)") is not is_dark
    body = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    assert body >= 16


@pytest.mark.system("nginx", "openssl")
@pytest.mark.parametrize("visit", [{"ignore_https_errors": True}], ids=["tls"], indirect=True)
def test_behind_the_proxy_its_links_stay_below_the_prefix(
    installation: Installation, visit: Visit, tmp_path: Path
) -> None:
    with run_nginx(tmp_path, installation) as proxy:
        visit.open(f"{proxy.url}api/docs")
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert visit.page.evaluate(protocol) == "h2"
        assert visit.console == []
        visit.page.get_by_role("link", name="openapi.json", exact=True).click()
        assert visit.page.url == f"{proxy.url}api/openapi.json"
        assert json.loads(visit.page.inner_text("body"))["openapi"].startswith("3.1")
