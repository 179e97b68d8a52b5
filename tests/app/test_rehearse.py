"""`make teach`: after it nothing that the six steps show is left to be made."""

import dataclasses

from app import rehearse
from app.state import FIELDS, measurement_of


def test_all_that_the_steps_show_is_there_afterwards(tiny, gelora_home, monkeypatch, capsys):
    from app.cache import measurements
    from app.jobs import Task
    from app.teaching_ratios import ratio_store

    model, data = tiny
    names = ["twonn", "mle"]
    monkeypatch.setitem(FIELDS, "estimators", dataclasses.replace(FIELDS["estimators"], default=names))
    choices = {key: field.default for key, field in FIELDS.items()} | {"model": model, "data": data, "n": 100, "length": 32}
    wanted = measurement_of(choices)
    assert ratio_store().find(wanted) is None
    rehearse.prepare(wanted)
    assert ratio_store().find(wanted).n_coordinates == 32
    assert measurements().missing(wanted, Task("estimators", tuple(names))) == ()
    said = capsys.readouterr().out
    assert said.count(" s  ") == 3 + len(names)
    assert "The curve of mle" in said
