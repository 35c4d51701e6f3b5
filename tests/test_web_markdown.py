"""The page's Markdown, in Chromium: what it shows, that it may be cut anywhere, and that it makes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import PAGE, launched

DOCUMENT = """\
# Title with `code` and **bold** #

A paragraph with *emphasis*, **strong _nested_ text**, ~~struck~~ and a [link](https://example.com "t").
Second line{spaces}
hard break\\
another. https://bare.example/a_b(x), done. ![pic](https://e.com/p.png) <https://x.y> &amp; &lt;b&gt;

Setext
======

- one
- two
  - nested `x`
  - [x] done
  - [ ] to do

  a paragraph in two
- three

1. first
2. second
  - meant to be inside
3. third
   ```python
   def f(a, *args):
       return "x"
   ```

> quote
lazy
> - a list in the quote

| a | b |
|---|:-:|
| 1 | **2** |
| `x \\| y` | 3<br>4 |

---\r
~~~js
let a = `x`;

# no heading
~~~

\tindented
\tcode

Last * not * emphasised, 2*3*4, snake_case_name, 文字**強調。**文字 and **unclosed
end `open""".replace("{spaces}", "  ")

CASES = [
    ("a\nb", "<p>a\nb</p>"),
    ("# One\n## Two ##\n####### seven", '<h3 class="level-1">One</h3><h4 class="level-2">Two</h4><p>####### seven</p>'),
    ("a\n===\nb\n---", '<h3 class="level-1">a</h3><h4 class="level-2">b</h4>'),
    ("***", "<hr>"),
    ("**a** __b__ *c* _d_", "<p><strong>a</strong> <strong>b</strong> <em>c</em> <em>d</em></p>"),
    ("***a** b*", "<p><em><strong>a</strong> b</em></p>"),
    ("a_b_c 2 * 3 * 4", "<p>a_b_c 2 * 3 * 4</p>"),
    ("**a*b", "<p>**a*b</p>"),
    ("`` a`b `` and `c", "<p><code>a`b</code> and `c</p>"),
    ("\\*a\\* \\x &copy; &#65; &bogus;", "<p>*a* \\x © A &amp;bogus;</p>"),
    ("- a\n- b\n\n  c", '<ul class="loose"><li><p>a</p></li><li><p>b</p><p>c</p></li></ul>'),
    ("3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
    ("- a\n  - b\n    - c", "<ul><li><p>a</p><ul><li><p>b</p><ul><li><p>c</p></li></ul></li></ul></li></ul>"),
    ("text\n- a\ntext", "<p>text</p><ul><li><p>a\ntext</p></li></ul>"),
    ("In 1999\n1999. was", "<p>In 1999\n1999. was</p>"),
    ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
    ("a | b\nc | d", "<p>a | b\nc | d</p>"),
    ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
    ('<img src=x onerror="alert(1)">', '<p>&lt;img src=x onerror="alert(1)"&gt;</p>'),
    ("[a](javascript:alert(1)) [b](data:text/html,x) [c](//e.com) [d](/x)", "<p>a b c d</p>"),
    ("[a](java\tscript:alert(1)) [b](VBScript:x) [c](file:///etc/passwd)", "<p>a b c</p>"),
    ("![x](javascript:alert(1))![](data:image/png;base64,AA==)", "<p>Image: xImage</p>"),
    ("<javascript:alert(1)> [bank](https://bank.com@e.com)", "<p>&lt;javascript:alert(1)&gt; bank</p>"),
    ("[a [b](c) d](e)", "<p>[a b d](e)</p>"),
]
BLANK = """() => {
  document.body.replaceChildren();
  return import("/markdown.js").then((module) => { window.md = module; });
}"""
SHOWN = """(text) => {
  const root = document.createElement("div");
  md.markdown(root, text);
  return root.innerHTML;
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page that has the module ``md`` and nothing else."""

    def serve(route: Any) -> None:
        file = PAGE / route.request.url.rsplit("/", 1)[1]
        known = file.is_file()
        route.fulfill(
            body=file.read_bytes() if known else b"<!doctype html>",
            content_type="text/javascript" if known else "text/html",
        )

    for browser in launched():
        page = browser.new_page()
        page.route("**/*", serve)
        page.goto("http://page.test/blank")
        page.evaluate(BLANK)
        yield page


def test_each_construct_is_shown_as_commonmark_and_github_have_it(page):
    """Blocks, emphasis, code, links; what would be markup, or a link that runs something, is text."""
    made = page.evaluate(f"(texts) => texts.map({SHOWN})", [text for text, _ in CASES])
    assert list(zip([text for text, _ in CASES], made, strict=True)) == CASES


def test_links_lead_where_they_say_and_take_nothing_along(page):
    """Only http, https and mailto; beside a text that is no host stands the one it leads to."""
    made = page.evaluate(SHOWN, "[a](https://e.com/x 't') <me@e.com> https://e.com/y")
    attributes = 'rel="noopener noreferrer" target="_blank" title='
    assert made == (
        f'<p><a href="https://e.com/x" {attributes}"https://e.com/x">a</a><span class="leads"> (e.com)</span> '
        f'<a href="mailto:me@e.com" {attributes}"mailto:me@e.com">me@e.com</a> '
        f'<a href="https://e.com/y" {attributes}"https://e.com/y">https://e.com/y</a></p>'
    )


PLAIN = [
    "[evil.example](https://evil.example/x)",
    "[Docs (evil.example)](https://evil.example/)",
    "[https://evil.example](https://evil.example/)",
    "[https://evil.example/a?b](https://evil.example/a?b)",
    "https://evil.example/bank.com/login",
    "[localhost:8000](http://localhost:8000/)",
    "[a@evil.example](mailto:a@evil.example?subject=x)",
]
TOLD = {
    "evil.example": [
        "[here](https://evil.example/)",
        "[bank.com](https://evil.example/)",
        "[bank.com/login](https://evil.example/)",
        "[BANK.COM](https://evil.example/)",
        "[//bank.com](https://evil.example/)",
        "[Log in at bank.com now](https://evil.example/)",
        "[bank.com evil.example](https://evil.example/)",
        "[bank。com evil.example](https://evil.example/)",
        "[bank\u2024com](https://evil.example/)",
        "[ba\u200bnk.com](https://evil.example/)",
        "[evil.\u200bexample](https://evil.example/)",
        "[\u202emoc.knab](https://evil.example/)",
        "[notevil.example](https://evil.example/)",
        "[evil.example.bank.com](https://evil.example/)",
        "[EVIL.EXAMPLE](https://evil.example/)",
        "[https://bank.com/?evil.example](https://evil.example/)",
        "[https://bank.com or evil.example](https://evil.example/)",
        "[**bank.com**](https://evil.example/)",
        "[`bank.com`](https://evil.example/)",
        "[b&#97;nk.com](https://evil.example/)",
        "[192.168.0.1](https://evil.example/)",
        "[localhost:8000](https://evil.example/)",
        "[bank.com](https:evil.example)",
        "![bank.com](https://evil.example/)",
        "[https://evil.example/\u202egpj.exe](https://evil.example/\u202egpj.exe)",
    ],
    "bank.com:8080": ["[bank.com](https://bank.com:8080/)", "[https://bank.com](https://bank.com:8080)"],
    "bank.com.evil.example": ["[bank.com](https://bank.com.evil.example/)"],
    "xn--bnk-6cd.com": ["https://b\u0430nk.com/", "[bank.com](https://b\u0430nk.com/)"],
    "127.0.0.1:8100": ["[x](http://127.0.0.1:8100/health)"],
    "a@evil.example": ["[a@bank.com](mailto:a@evil.example)", "[bank.com](mailto:a@evil.example)"],
}


def test_where_a_link_leads_is_told_unless_its_text_is_just_that(page):
    """However the text is written: the host, with its port, or the address stands after it."""
    texts = PLAIN + [text for each in TOLD.values() for text in each]
    made = page.evaluate(
        """(texts) => texts.map((text) => {
          const root = document.createElement("div");
          md.markdown(root, text);
          return [...root.querySelectorAll("a + .leads")].map((node) => node.textContent);
        })""",
        texts,
    )
    assert dict(zip(texts, made, strict=True)) == {
        **{text: [] for text in PLAIN},
        **{text: [f" ({host})"] for host, each in TOLD.items() for text in each},
    }


def test_a_code_block_has_its_text_its_language_and_a_button_to_copy_it(page):
    """The text is exactly what stood between the fences."""
    seen = page.evaluate(
        """(text) => {
          md.markdown(document.body, text);
          const figure = document.querySelector("figure");
          const labels = ["pre", "button"].map((name) => figure.querySelector(name).getAttribute("aria-label"));
          return [figure.querySelector("code").textContent, ...labels];
        }""",
        "```py\na = 1\n\n  b < c\n```\n",
    )
    assert seen == ["a = 1\n\n  b < c", "Code, py", "Copy code"]


def test_a_document_cut_anywhere_ends_as_the_whole_one(page):
    """Two pieces, whatever the cut, and one character at a time: the same elements as at once."""
    wrong, single = page.evaluate(
        """(text) => {
          const show = (...pieces) => {
            const root = document.createElement("div");
            const shown = new md.Markdown(root);
            pieces.forEach((piece, at) => { shown.append(piece); shown.render(at < pieces.length - 1); });
            return root.innerHTML;
          };
          const whole = show(text);
          const cuts = Array.from({length: text.length + 1}, (_, at) => at);
          return [cuts.filter((at) => show(text.slice(0, at), text.slice(at)) !== whole), show(...text) === whole];
        }""",
        DOCUMENT,
    )
    assert wrong == []
    assert single


def test_what_is_half_written_is_shown_as_it_will_probably_go_on(page):
    """Emphasis, code and links that are not closed yet look as if; marks at the end wait; nothing is taken back."""
    halves = {
        "a **bo": "<p>a <strong>bo</strong></p>",
        "a **": "<p>a</p>",
        "a `co": "<p>a <code>co</code></p>",
        "see [the do](https://exam": "<p>see the do</p>",
        "text\n-": "<p>text</p>",
        "text\n#": "<p>text</p>",
        "text\n\n| a | b |\n|--": "<p>text</p>",
        "~~~\ncode": None,
    }
    made = page.evaluate(
        """(texts) => texts.map((text) => {
          const root = document.createElement("div");
          const shown = new md.Markdown(root);
          shown.append(text);
          shown.render();
          return root.querySelector("figure") ? null : root.innerHTML;
        })""",
        list(halves),
    )
    assert [each and each.replace("\n</p>", "</p>") for each in made] == list(halves.values())


def test_only_the_last_block_is_made_anew(page):
    """Elements of finished blocks, and of finished items and rows of the last, stay the same objects."""
    changed = page.evaluate(
        """(text) => {
          const root = document.createElement("div");
          const shown = new md.Markdown(root);
          shown.append(text);
          shown.render();
          const before = [...root.querySelectorAll("p, li, tr, code")].slice(0, -1);
          for (const word of [" and", " more\\n", "- another", "\\n\\nend"]) { shown.append(word); shown.render(); }
          return before.map((node) => root.contains(node)).filter((kept) => !kept).length;
        }""",
        "first\n\n| a |\n|---|\n| b |\n\n```\nc\n```\n\n- d\n- e\n- f",
    )
    assert changed == 0


def test_texts_made_to_take_long_do_not(page):
    """Ten times the text takes nowhere near a hundred times as long, and what is nested without end does not fail."""
    hostile = [
        "*a_ ",
        "[",
        "![a](",
        "](",
        "`" * 3 + "a`",
        "> ",
        "- ",
        "**a ",
        "<",
        "&",
        "| ",
        "a*b**c",
        "[a](<b",
        "~~a",
        "- a\n ",
    ]
    lengths = page.evaluate(
        """(pieces) => pieces.map((piece) => {
          const root = document.createElement("div");
          md.markdown(root, piece.repeat(60000 / piece.length));
          return root.textContent.length > 0 || root.childElementCount > 0;
        })""",
        hostile,
    )
    assert lengths == [True] * len(hostile)


def test_no_text_makes_an_element_that_is_not_text(page):
    """Whatever is put together from dangerous pieces: the elements are of a short list, their attributes too."""
    pieces = [
        "<script>x</script>",
        "<img src=x onerror=y>",
        "[a](javascript:x)",
        "\n\n",
        "```\n",
        "**",
        "`",
        "| a | b |\n|-|-|\n",
        "- ",
        "> ",
    ]
    pieces += [
        "<svg/onload=x>",
        "![](https://e.com/a)",
        '"><b>',
        "<a href='javascript:x'>",
        '[x](https://e.com/"onclick=y)',
        "# ",
        "\u202e",
        "&lt;i&gt;",
    ]
    tags, attributes, schemes = page.evaluate(
        """(pieces) => {
          const [tags, attributes, schemes] = [new Set(), new Set(), new Set()];
          let seed = 7;
          const any = () => pieces[(seed = (seed * 48271) % 2147483647) % pieces.length];
          for (let round = 0; round < 400; round += 1) {
            const root = document.createElement("div");
            md.markdown(root, Array.from({length: 12}, any).join(""));
            for (const node of root.querySelectorAll("*")) {
              tags.add(node.localName);
              for (const name of node.getAttributeNames()) attributes.add(name);
              if (node.href) schemes.add(new URL(node.href).protocol);
            }
          }
          return [[...tags], [...attributes], [...schemes]];
        }""",
        pieces,
    )
    text = "p h3 h4 h5 h6 ul ol li blockquote table thead tbody tr th td hr br strong em del"
    assert set(tags) <= {*text.split(), "code", "pre", "figure", "figcaption", "span", "div", "button", "a"}
    known = {
        "class",
        "dir",
        "href",
        "rel",
        "target",
        "title",
        "scope",
        "tabindex",
        "role",
        "type",
        "start",
        "aria-label",
    }
    assert set(attributes) <= known
    assert schemes == ["https:"]
