"""A checkpoint counts when its seal lists all its files in their sizes; anything else is as if it were not there."""

import json

import numpy as np
import pytest
import torch

from gelora.runs.training import checkpoints


def make(folder, step, sealed=True):
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "inner").mkdir(parents=True)
    (checkpoint / "weights.bin").write_bytes(b"w" * 10)
    (checkpoint / "inner" / "state.json").write_text("{}")
    if sealed:
        checkpoints.seal(checkpoint)
    return checkpoint


def test_the_last_whole_one_is_found(tmp_path):
    assert checkpoints.last_whole(tmp_path / "none") is None
    make(tmp_path, 9)
    ten = make(tmp_path, 10)
    make(tmp_path, 30, sealed=False)
    (tmp_path / "checkpoint-x").mkdir()
    assert checkpoints.last_whole(tmp_path) == ten
    assert checkpoints.step_of(ten) == 10


def test_a_file_that_is_cut_or_gone_breaks_the_seal(tmp_path):
    cut, gone, whole = make(tmp_path, 30), make(tmp_path, 20), make(tmp_path, 10)
    (cut / "weights.bin").write_bytes(b"w" * 9)
    (gone / "inner" / "state.json").unlink()
    assert checkpoints.last_whole(tmp_path) == whole


def test_a_seal_that_is_no_json_counts_for_nothing(tmp_path):
    for step, text in enumerate(("", "[]", '{"files": []}', '{"files": 3}', "null", '{"files": {"weights.bin": "ten"}}')):
        (make(tmp_path, step) / checkpoints.SEAL).write_text(text)
    assert checkpoints.last_whole(tmp_path) is None


def test_what_is_broken_or_later_is_cleared(tmp_path):
    old, kept = make(tmp_path, 5), make(tmp_path, 10)
    make(tmp_path, 15, sealed=False)
    make(tmp_path, 20)
    checkpoints.clear(tmp_path, kept)
    assert sorted(p.name for p in tmp_path.iterdir()) == [kept.name, old.name]
    checkpoints.clear(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_garbled_at_its_old_size_is_passed_over_with_a_sentence(tmp_path):
    for step in (5, 10):
        make(tmp_path, step)
    assert checkpoints.last_undamaged(tmp_path, pytest.fail) == tmp_path / "checkpoint-10"
    file = tmp_path / "checkpoint-10" / "weights.bin"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    said = []
    assert checkpoints.last_whole(tmp_path) == tmp_path / "checkpoint-10"  # by sizes alone
    assert checkpoints.last_undamaged(tmp_path, said.append) == tmp_path / "checkpoint-5"
    assert said == ["checkpoint-10 is damaged (weights.bin is not as it was written) and is passed over"]


def test_a_seal_of_an_earlier_version_has_sizes_alone(tmp_path):
    make(tmp_path, 5)
    seal = tmp_path / "checkpoint-5" / checkpoints.SEAL
    listed = json.loads(seal.read_text())
    del listed["sha256"]
    seal.write_text(json.dumps(listed))
    assert checkpoints.last_undamaged(tmp_path, pytest.fail) == tmp_path / "checkpoint-5"


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_a_pickle_of_something_else_than_tensors_is_not_loaded_and_its_checkpoint_passed_over(tmp_path, name):
    class Creates:
        def __reduce__(self):
            return open, (str(tmp_path / "created"), "w")

    state = {"numpy": np.random.default_rng(0).bytes(3), "keys": np.arange(3, dtype=np.uint32), "cpu": torch.zeros(3)}
    for step, content in ((5, state), (10, state | {"x": Creates()})):
        checkpoint = make(tmp_path, step, sealed=False)
        torch.save(content, checkpoint / name)
        checkpoints.seal(checkpoint)
    said = []
    assert checkpoints.last_undamaged(tmp_path, said.append) == tmp_path / "checkpoint-5"
    assert said == [f"checkpoint-10 is passed over: {name} holds something else than tensors and plain values, and is not loaded"]
    assert not (tmp_path / "created").exists()
