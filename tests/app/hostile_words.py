"""Words that somebody may put into a file, a link or a log, to have a page show or fetch something of theirs."""

ELSEWHERE = "http://elsewhere.example"
ALL = (
    f"![i]({ELSEWHERE}/i.png) [l]({ELSEWHERE}) [j](javascript:alert(1)) <img src={ELSEWHERE}/h> <b>b</b> $x$ :red[x] `c` *e* a|b "
    "www.elsewhere.example"
)
EACH = (
    f"![pixel]({ELSEWHERE}/pixel.png)", f"[link]({ELSEWHERE})", "[script](javascript:alert(1))", f"<img src={ELSEWHERE}/image.png>",
    f"<b>bold</b><a href='{ELSEWHERE}'>link</a>", "$x^2$ and $$y$$", "\\[x\\] \\(y\\) \\* back", ":red[x] :help[x] :small[x]",
    ":material/home: :material_home: :smile: :streamlit:", "a | b", "|a|b|\n|-|-|\n|1|2|", "`code` ``code``",
    "one\n\n# heading\n- item", f"{ELSEWHERE}/a www.elsewhere.example me@elsewhere.example", "*a* **b** _c_ __d__ ~~e~~ ~f~",
    "- item", "1. item", "+ item", "> quote", "===", "::: note", "    code", "a -> b <- c <-> d -- e >= f <= g ~= h",
    "&lt;b&gt; &amp; &#65; AT&T", f"[ref]: {ELSEWHERE}", "[^1] note", "{x} a@{b}", "http:small[]", "<!-- comment -->", ALL,
)  # fmt: skip


def as_shown(word: str) -> str:
    """The word as HTML shows it: blanks and line breaks are one space."""
    return " ".join(word.split())
