"""Batches of few shapes, and steps that are replayed: the second part needs a CUDA device."""

import pytest
import torch

from gelora.runs.training.graphs import StepGraphs, widened


def batch_of(lengths):
    width = max(lengths)
    ids = torch.tensor([[5] * n + [9] * (width - n) for n in lengths])
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0] * len(lengths))}


@pytest.mark.parametrize(("longest", "given", "expected"), [(128, 33, 48), (128, 48, 48), (256, 33, 64), (50, 49, 50), (1024, 97, 192)])
def test_batches_are_widened_to_few_shapes(longest, given, expected):
    wider = widened(batch_of, 9, longest)([given, 3])
    assert wider["input_ids"].shape == wider["attention_mask"].shape == (2, expected)
    assert (wider["input_ids"][:, given:] == 9).all()
    assert wider["attention_mask"].sum() == given + 3
    assert wider["labels"].shape == (2,)


def test_labels_of_tokens_are_widened_by_what_counts_for_nothing():
    def collate(rows):
        batch = batch_of(rows)
        return batch | {"labels": batch["input_ids"].clone()}

    assert (widened(collate, 9, 128)([20, 7])["labels"][:, 20:] == -100).all()


def test_never_more_than_twelve_widths():
    for longest in (17, 128, 256, 384, 512, 2048):
        widths = {widened(batch_of, 9, longest)([n])["input_ids"].shape[1] for n in range(1, longest + 1)}
        assert len(widths) <= 12
        assert max(widths) == longest


def test_where_the_gpu_does_not_wait_steps_are_taken_as_usual(monkeypatch):
    clock = iter([0.0, 0.1, 1.0] * 10)  # enqueued after 0.1 s, done after 1.0 s
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr("gelora.runs.training.graphs.time.perf_counter", lambda: next(clock))
    said, taken = [], []
    graphs = StepGraphs(list, lambda batch, n: pytest.fail("nothing is to be recorded"), said.append)
    for i in range(8):
        graphs.step({"input_ids": torch.zeros(2, 3)}, None, lambda i=i: taken.append(i) or torch.tensor(0.0))
    assert taken == list(range(8))
    assert not said


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_steps_give_the_gradients_of_usual_ones():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).cuda()
    graphs = StepGraphs(lambda: list(model.parameters()), lambda batch, n: model(batch["x"]).square().mean(), lambda text: None)
    graphs._is_on = True
    for i in range(6):
        batch = {"x": torch.randn(4 + i % 2, 8, device="cuda")}

        def as_usual(batch=batch):
            loss = model(batch["x"]).square().mean()
            loss.backward()
            return loss.detach()

        model.zero_grad()
        expected_loss = as_usual()
        expected = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        torch.testing.assert_close(graphs.step(batch, None, as_usual), expected_loss)
        torch.testing.assert_close([p.grad for p in model.parameters()], expected)
    assert len(graphs._recorded) == 2
    for p in model.parameters():
        p.data = p.data.clone()
    model.zero_grad()
    graphs.step(batch, None, as_usual)
    assert not graphs._recorded  # parameters that lie elsewhere: what was recorded reads the old memory
    graphs.step(batch, None, as_usual)
    assert len(graphs._recorded) == 1  # and the same shapes are recorded again


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_where_recording_fails_steps_go_on_as_usual_dropout_included():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1)).cuda()
    said = []

    def loss_of(batch, n):
        loss = model(batch["x"]).square().mean()
        return loss * loss.item()  # waits for the GPU, which no recording can

    graphs = StepGraphs(lambda: list(model.parameters()), loss_of, said.append)
    graphs._is_on = True
    batch = {"x": torch.randn(4, 8, device="cuda")}

    def as_usual():
        loss = model(batch["x"]).square().mean()
        loss.backward()
        return loss.detach()

    losses = {float(graphs.step(batch, None, as_usual)) for _ in range(4)}
    assert "cannot be recorded" in said[0]
    assert len(losses) == 4  # dropout still draws
