"""A figure for a paper: its width, its ink, and a methods sentence that holds what a reader needs to measure it again."""

from dataclasses import replace

import plotly.graph_objects as go
import pytest
from made_profiles import make_profile, plans_of
from test_pages import measure, open_app

from app.charts.layers import id_by_layer
from app.charts.paper import for_paper, methods_sentence
from gelora.errors import InputError


@pytest.mark.parametrize(("mm", "pixels"), [(84, 317), (174, 658)])
def test_the_figure_has_the_columns_width_dark_on_white(mm, pixels):
    figure = id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    printed = for_paper(figure, mm)
    assert printed.layout.width == pixels and printed.layout.height < figure.layout.height
    assert (printed.layout.paper_bgcolor, printed.layout.plot_bgcolor, printed.layout.font.color) == ("#ffffff", "#ffffff", "#1a1a1a")
    assert {a.font.size for a in printed.layout.annotations} == {9}
    assert [t.y for t in printed.data] == [t.y for t in figure.data]


def test_long_names_of_rows_have_room():
    figure = go.Figure(go.Heatmap(x=[1], y=["agree (of 2)"], z=[[1]], name="x"))
    figure.update_layout(height=100)
    assert for_paper(figure, 84).layout.margin.l >= 12 * 4.5 + 16


def test_the_figure_on_the_screen_stays_as_it_is():
    figure = id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    before = figure.to_json()
    for_paper(figure, 84)
    assert figure.to_json() == before


def test_the_methods_sentence_says_what_is_needed_to_measure_again():
    profile = make_profile()
    profile = replace(profile, model=replace(profile.model, revision="0123456789abcdef"), pooling="last")
    said = methods_sentence(profile, ["twonn", "mle"])
    for words in (
        "hidden states of tiny (revision 0123456789, 3 blocks, width 8)",
        "N = 100 distinct texts of texts (revision rev, seed 0), cut at 32 tokens, each text as its last token, with euclidean distance",
        "TwoNN (method = fit, discard fraction = 0.1; Facco et al. 2017)",
        "MLE (k = 20, aggregation = mackay-ghahramani;",
        "before any final norm",
        "95%, from 2 random half-samples",
    ):
        assert words in said, said


def test_an_interval_that_is_the_estimators_own_is_said():
    profile = replace(make_profile(), subsamples={})
    said = methods_sentence(profile, ["twonn"])
    assert "half-samples" not in said and "The interval of TwoNN, where there is one, is the estimator's own." in said
    with pytest.raises(InputError, match="danco"):
        methods_sentence(profile, ["danco"])


def test_the_page_makes_it_only_when_it_is_opened(tiny):
    app = measure(open_app("layers", model=tiny[0], data=tiny[1], n="100"))
    assert not app.exception and not [code for code in app.code if "intrinsic dimension" in code.value]
    app.session_state["for_paper"] = True
    app.run()
    assert not app.exception
    assert any("each text as the mean over all its tokens" in code.value for code in app.code)
