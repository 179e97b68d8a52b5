"""`make teach`: after it nothing that the six steps show is left to be made."""

import dataclasses

from app.state import FIELDS, measurement_of
from app.teaching import rehearse


def test_all_that_the_steps_show_is_there_afterwards(tiny, gelora_home, monkeypatch, capsys):
    from app.shared.cache import measurements
    from app.teaching.ratios import ratios
    from gelora.measurements import Quantity

    model, data = tiny
    names = ["twonn", "mle"]
    monkeypatch.setitem(FIELDS, "estimators", dataclasses.replace(FIELDS["estimators"], default=names))
    choices = {key: field.default for key, field in FIELDS.items()} | {"model": model, "data": data, "n": 100, "length": 32}
    wanted = measurement_of(choices)
    assert ratios(wanted) is None
    rehearse.prepare(wanted)
    assert ratios(wanted).n_coordinates == 32
    assert measurements().missing(wanted, Quantity("estimators", tuple(names))) == ()
    said = capsys.readouterr().out
    assert said.count(" s  ") == 2 + len(names)
    assert "The curve of mle" in said
