"""The relay's page as it is looked at and used: hostile text, themes, a phone, a keyboard, a screen reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import page_demo
import pytest
from browser import PAGE, launched
from chatting import call, refunds, say, texts, visiting, waiting_tool

import promptstream
from promptstream.errors import RateLimited
from promptstream.values.chunk import Chunk, ChunkType, Finish

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests; each has a profile of its own."""
    yield from launched()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """What opens the page of a relay with a script."""
    with visiting(browser) as visit:
        yield visit


@pytest.fixture
def expect() -> Any:
    """What waits until something is so."""
    return pytest.importorskip("playwright.sync_api").expect


# What a model writes is text

EVIL = (
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 1'> [a](javascript:window.hacked=1) "
    "[b](data:text/html,<script>window.hacked=1</script>) ![c](data:image/svg+xml,<svg/onload=window.hacked=1>) "
    "![d](https://tracker.example/pixel.png) <iframe srcdoc='<script>parent.hacked=1</script>'> \u202egnp.exe\u2066 "
    f"{'A' * 3000} </article></main><form action='https://evil.example/'><button>Approve</button></form>"
)


def test_nothing_that_comes_from_outside_becomes_part_of_the_page(visit, expect):
    """Answers, thoughts, tools, arguments, results, errors, titles, histories: no element, no request, no script."""

    @promptstream.tool
    def look() -> str:
        """Look."""
        return EVIL

    refund, _ = refunds()
    first = [
        Chunk(ChunkType.REASONING, reasoning=EVIL),
        EVIL,
        f"\n\n```{EVIL}\n{EVIL}\n",
        call("look", id="<b>"),
        call(EVIL[:60], id="c9"),
    ]
    script = [
        first,
        ["| a |\n|---|\n| ", EVIL, " |\n\n# ", EVIL],
        [EVIL, call(order=7, note=EVIL)],
        [RateLimited(EVIL)],
    ]
    page = visit(script, tools=[look, refund], title=EVIL)
    page.set_viewport_size({"width": 360, "height": 700})
    for number, message in enumerate([EVIL, "more"]):
        say(page, message)
        expect(page.locator(".figures")).to_have_count(number + 1)
    expect(page.locator(".decision")).to_be_visible()
    assert "\\u202e" in page.locator(".decision textarea").input_value()
    page.locator(".decision").get_by_role("button", name="Reject").click()
    expect(page.locator(".problem")).to_be_visible()
    for fold in page.locator("details").all():
        fold.evaluate("node => (node.open = true)")
    harmless(page)
    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    harmless(page)


def harmless(page: Any) -> None:
    """Make sure that the page is made of its own elements, runs nothing, and is no wider than the screen."""
    assert page.evaluate("window.hacked") is None
    made = page.evaluate("[...new Set([...document.querySelectorAll('#log *')].map((node) => node.localName))]")
    ours = "article div p h2 h3 code pre span details summary figure figcaption button table thead tbody tr th td"
    assert set(made) <= {*ours.split(), "a", "dl", "dt", "dd", "form", "label", "input", "textarea"}
    assert page.locator("form:not(.decision, #composer, #gate)").count() == 0
    links = page.evaluate(
        "[...new Set([...document.querySelectorAll('#log a')].map((node) => new URL(node.href).host))]"
    )
    assert set(links) <= {"tracker.example", "evil.example"}  # which are links to be clicked, no more
    assert page.evaluate("[document, document.getElementById('pane')].map((n) => (n.body ?? n).scrollWidth)") == [
        360,
        360,
    ]


def test_the_page_itself_runs_under_a_strict_policy():
    """No file reads markup from a string, and the page has neither script nor style inside."""
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", index)
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML|srcdoc"
    for file in PAGE.glob("*.js"):
        assert not re.search(words, file.read_text(encoding="utf-8")), file.name
        assert len(file.read_text(encoding="utf-8").splitlines()) < 400, file.name


# How it looks and is used


def luminance(colour: str) -> float:
    """Give the relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_all_text_has_the_contrast_that_wcag_aa_wants(theme):
    """4.5 to 1, for every pair of colours that the style sheet puts on one another."""
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", (PAGE / "style.css").read_text(encoding="utf-8"))
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[theme]))
    pairs = [
        "ink back",
        "ink soft",
        "ink ask-back",
        "dim back",
        "dim soft",
        "dim ask-back",
        "main back",
        "on-main main",
    ]
    pairs += ["warn-ink warn-back", "warn-ink back", "warn-ink ask-back", "good back"]
    for pair in pairs:
        one, other = (luminance(colours[name]) + 0.05 for name in pair.split())
        assert max(one, other) / min(one, other) >= 4.5, pair


def test_the_theme_follows_the_system_until_it_is_chosen(visit, expect):
    """The choice outlives a reload."""
    page = visit(["Hi"])
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(21, 23, 28)")
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    page.get_by_role("button", name="Use the dark theme").click()
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", "rgb(21, 23, 28)")
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()


def test_a_new_conversation_begins_empty_and_a_reload_keeps_it(visit, expect):
    """The old one is left; reloading the page shows the present one."""
    page = visit(["One", "Two"])
    say(page, "First")
    expect(page.locator(".figures")).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#empty")).to_be_visible()
    say(page, "Second")
    expect(page.locator(".figures")).to_be_visible()
    page.reload()
    expect(page.locator(".answer")).to_contain_text("Two")
    assert texts(page, ".question") == ["Second"]
    assert [message.text for message in page.provider.requests[1].messages] == ["Second"]


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit, expect):
    """At 360 px, with a table, code and a decision; fields are large enough not to be zoomed into."""
    phone = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
    page = visit(page_demo.demo(), tools=[page_demo.refund], title="A shop of a long name " * 5, browser_options=phone)
    for number, question in enumerate(page_demo.QUESTIONS):
        say(page, question)
        expect(page.locator(".figures")).to_have_count(number + 1)
    expect(page.locator(".decision")).to_be_visible()
    assert page.evaluate("[document.body, document.getElementById('pane')].map((n) => n.scrollWidth)") == [360, 360]
    assert page.evaluate("getComputedStyle(document.getElementById('message')).fontSize") == "16px"
    for name in ("Send", "New", "Use the dark theme"):
        box = page.get_by_role("button", name=name).first.bounding_box()
        assert box["height"] >= 40
        assert box["x"] + box["width"] <= 360
    page.locator(".decision").get_by_role("button", name="Approve").tap()
    expect(page.locator(".answer").nth(1)).to_contain_text("80.00 euros")


def test_everything_can_be_done_with_the_keyboard_alone(visit, expect):
    """In the order of the page; Shift+Enter begins a line, and the decision that is waited for has the focus."""
    refund, ran = refunds()
    page = visit([[call(order=7)], "Done."], tools=[refund])
    press = page.keyboard.press
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    expect(page.locator("#message")).to_be_focused()
    order = []
    for _ in range(3):
        press("Shift+Tab")
        order.append(page.evaluate(focused))
    assert order == ["theme", "new", "Skip to the message field"]
    press("Enter")
    expect(page.locator("#message")).to_be_focused()
    page.keyboard.type("Refund")
    press("Shift+Enter")
    page.keyboard.type("now")
    press("Enter")
    expect(page.locator(".decision")).to_be_focused()
    assert texts(page, ".question") == ["Refund\nnow"]
    for _ in range(3):
        press("Tab")
    assert page.evaluate(focused) == "Approve"
    press("Enter")
    expect(page.locator(".answer")).to_contain_text("Done.")
    expect(page.locator("#message")).to_be_focused()
    assert ran == [{"order": 7, "note": ""}]


def test_the_accessibility_tree_has_a_role_and_a_name_for_everything(visit, expect):
    """A log of articles, a labelled field, named buttons, a labelled decision."""
    refund, _ = refunds()
    page = visit(
        [["# Hi\n\n- a\n\n```py\nx\n```", Finish(reason="stop")], [call(order=7)]], tools=[refund], title="Shop"
    )
    expect(page.locator("#state-text")).to_have_text("Connected")
    say(page, "Hello")
    expect(page.locator(".figures")).to_have_count(1)
    say(page, "Refund")
    expect(page.locator(".decision")).to_be_visible()
    expect(page.locator("body")).to_match_aria_snapshot(
        """
        - link "Skip to the message field"
        - banner:
          - heading "Shop" [level=1]
          - status: Connected
          - button "New conversation"
          - button "Use the dark theme"
        - main:
          - log "Conversation":
            - article "You":
              - paragraph: Hello
            - article "Answer":
              - heading "Hi" [level=3]
              - list:
                - listitem:
                  - paragraph: a
              - figure:
                - text: py
                - button "Copy code"
                - region "Code, py":
                  - code: x
              - button "Copy the answer"
            - article "You":
              - paragraph: Refund
            - article "Answer":
              - form "Allow refund to run?":
                - heading "Allow refund to run?" [level=2]
                - textbox "Arguments, which you may change"
                - textbox "Reason for a rejection"
                - button "Approve"
                - button "Reject"
        - contentinfo:
          - textbox "Message"
          - button "Send" [disabled]
        """
    )


def test_a_screen_reader_is_told_each_paragraph_once(visit, expect):
    """Not each token, and not what is shown again after a reload; the log itself is no live region."""
    page = visit([["One ", "and ", "on.\n\n", "Two.\n\n", "```\n", "x\n", "```\n\n", "Three"], "Four"])
    expect(page.locator("#state-text")).to_have_text("Connected")
    page.evaluate(
        """() => {
          window.said = [];
          const seen = new MutationObserver((all) => {
            for (const { addedNodes } of all) said.push(...[...addedNodes].map((node) => node.textContent));
          });
          seen.observe(document.getElementById("said"), {childList: true, characterData: true, subtree: true});
        }"""
    )
    say(page, "Go")
    expect(page.locator(".figures")).to_be_visible()
    assert page.evaluate("said") == ["One and on.", "Two.", "Code block, 1 line.", "Three", "The answer is complete."]
    assert page.locator("[role=log]").get_attribute("aria-live") == "off"
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    page.reload()
    expect(page.locator(".answer")).to_contain_text("Three")
    assert texts(page, "#said p") == []


def test_a_long_answer_follows_until_the_reader_scrolls_up_and_can_be_typed_under(visit, expect):
    """5,000 tokens: what is finished is left alone, the field takes text meanwhile, the place that is read stays."""
    wait, reached, go = waiting_tool()
    half = [f"word{n} " if n % 25 else f"word{n}\n\n" for n in range(1, 2501)]
    page = visit([[*half, call("wait")], [*half, "The end."]], tools=[wait])
    say(page, "Go")
    assert reached.wait(5)
    expect(page.locator(".tool .state")).to_have_text("runs")
    pane = "document.getElementById('pane')"
    assert page.evaluate(f"{pane}.scrollHeight - {pane}.clientHeight - {pane}.scrollTop") <= 1
    page.get_by_role("textbox", name="Message", exact=True).type("typed meanwhile")
    page.locator("#pane").hover()
    page.mouse.wheel(0, -900)
    expect(page.get_by_role("button", name="Go to the latest text")).to_be_visible()
    page.evaluate(f"window.place = {pane}.scrollTop; window.first = document.querySelector('.answer p')")
    go.set()
    expect(page.locator(".figures")).to_have_count(1)
    assert page.evaluate(f"[place === {pane}.scrollTop, first.isConnected]") == [True, True]
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == "typed meanwhile"
    page.get_by_role("button", name="Go to the latest text").click()
    expect(page.get_by_role("button", name="Go to the latest text")).to_be_hidden()
    assert page.evaluate(f"{pane}.scrollHeight - {pane}.clientHeight - {pane}.scrollTop") <= 1
    assert page.locator(".answer .text p").count() == 201
    assert page.locator(".answer .text p").last.inner_text() == "The end."


def test_motion_is_spared_to_those_who_want_none(visit, expect):
    """Nothing moves by itself where the system says so."""
    page = visit([[60.0, "late"]])
    page.emulate_media(reduced_motion="reduce")
    say(page, "Go")
    expect(page.locator(".dots")).to_be_attached()
    assert page.evaluate("document.getAnimations().length") == 0


def test_an_answer_is_copied_as_it_was_written(visit, expect):
    """Markdown and all."""
    page = visit(["**Hi**\n\n- a"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    say(page, "Hello")
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator(".foot button")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "**Hi**\n\n- a"
