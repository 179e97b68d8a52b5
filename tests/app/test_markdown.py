"""`plain` and `md` without a browser: what is inserted is escaped once, our own markup is passed on; and the same for figures."""

import plotly.graph_objects as go
import pytest
from hostile_words import ALL, EACH, ELSEWHERE

from app.charts.data import figure_table
from app.charts.words import as_typed, with_our_tags_alone
from app.shared.markdown import Markdown, bold, md, plain


def test_plain_words_stay_as_they_are_written():
    assert plain("Of 120 rows, 3.5% are left (see row 7); it's fine: go on.") == "Of 120 rows, 3.5% are left (see row 7); it's fine: go on."


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("a_b*c", r"a\_b\*c"), ("[x](y)", r"\[x\](y)"), ("http://x.y", r"http\::small[]//x.y"), ("www.x", "www:small[].x"),
        (":red[x]", r"\::small[]red\[x\]"), ("a@b", "a@:small[]b"), ("- x", r"\- x"), ("1. x", r"1\. x"), ("# x", r"\# x"),
        ("a\n\nb", "a b"), ("    x", " x"), ("&lt; &c", r"\&lt; \&c"), ("R & D", "R & D"), ("a\ud800b", "a?b"), (3.5, "3.5"),
        ("-0.5", "-0.5"), ("## x", r"#\# x"), ("==", r"=\="),
    ],
)  # fmt: skip
def test_what_would_be_markup_is_broken(typed, written):
    assert plain(typed) == written


@pytest.mark.parametrize("word", EACH)
def test_words_are_escaped_once_wherever_they_go(word):
    once = plain(word)
    assert plain(once) == md("{}", word) == md("{}", once) == plain(md("{}", once)) == once
    assert md("**{}**: {:,}", word, 1200) == bold(word) + ": 1,200" == f"**{once}**: 1,200"
    assert Markdown("\n").join([word, md("- {}", word)]) == f"{once}\n- {once}"
    assert isinstance(md("x") + word, Markdown) and md("x") + word == f"x{once}"
    assert md("{!r}", word) == plain(repr(word)) and md("{name}", name=word) == once


def test_a_figure_shows_the_tags_of_our_charts_and_no_others():
    ours = '<span style="color:#0072B2">●</span> <b>TwoNN</b><br>5 < 6'
    figure = go.Figure(go.Scatter(x=[1], y=[1], name=ours, hovertemplate="%{y}<extra></extra>"))
    assert with_our_tags_alone(figure) is figure
    foreign = f'<a href="{ELSEWHERE}">x</a> <img src="{ELSEWHERE}"><span style="background:url({ELSEWHERE})">'
    figure.add_annotation(text=foreign, hovertext=foreign)
    figure.update_layout(title_text=ours + foreign, xaxis={"ticktext": [foreign], "tickvals": [1]})
    figure.add_trace(go.Bar(x=[foreign], y=[1], hovertext=[foreign], customdata=[[foreign]]))
    shown = with_our_tags_alone(figure)
    assert (
        not any(tag in shown.to_json() for tag in ("<a", "<img", "background:url", "\\u003ca", "\\u003cimg")) or "&lt;a" in shown.to_json()
    )
    assert shown.layout.annotations[0].text.startswith('&lt;a href="') and shown.layout.title.text.startswith(ours)
    assert shown.data[0].name == ours and shown.data[1].x[0] == shown.data[1].hovertext[0] == shown.layout.annotations[0].text


def test_a_word_of_a_file_is_shown_by_a_figure_and_taken_along_as_typed():
    figure = go.Figure(go.Scatter(x=[1], y=[2], name=as_typed(ALL), hovertext=[f"<b>{as_typed(ALL)}</b>"]))
    assert "<img" not in figure.data[0].name and as_typed("%{x}") == "%&#123;x}"
    [row] = figure_table(figure).to_dict("records")
    assert row["series"] == ALL and ALL in row.values()
