"""What is drawn, as a table."""

import plotly.graph_objects as go

from app.charts.data import figure_table


def test_every_point_is_a_row_with_its_error_and_its_words():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3.0, None], name="TwoNN", hovertext=["<b>one</b>", "two"], error_y={"array": [0.1, 0.2]}))
    figure.update_yaxes(title_text="dimension")
    rows = figure_table(figure).to_dict("records")
    assert rows[0] == {"panel": "dimension", "series": "TwoNN", "x": 1, "y": 3.0, "error_plus": 0.1, "error_minus": 0.1, "says": "one"}
    assert len(rows) == 2


def test_a_heat_map_is_one_row_a_cell_and_gaps_are_left_out():
    figure = go.Figure(go.Heatmap(x=[1, 2], y=["a", "b"], z=[[1, None], [3, 4]], hovertext=[["p", "q"], ["r", "s"]]))
    table = figure_table(figure)
    assert [tuple(row) for row in table[["x", "y", "z", "says"]].itertuples(index=False)] == [
        (1, "a", 1, "p"),
        (1, "b", 3, "r"),
        (2, "b", 4, "s"),
    ]


def test_the_outline_of_a_band_is_not_data():
    figure = go.Figure(go.Scatter(x=[1, 2, 2, 1], y=[1, 1, 2, 2], hoverinfo="skip", fill="toself"))
    assert figure_table(figure).empty
