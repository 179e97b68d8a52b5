"""Blocks, masked prompts, perplexity and generation."""

import math
import re

import numpy as np
import pytest
import torch

from gelora.errors import DataError, ModelError
from gelora.tasks import build_task
from gelora.tasks.causal_lm import pack
from gelora.tasks.next_token import next_token_scores, reduce_next_token

ALPACA = [
    {"instruction": f"Say what number {i} is.", "input": "" if i % 2 else f"number {i}", "output": f"It is the number {i}, a good one."}
    for i in range(40)
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def text_file(write_rows, labelled_rows):
    return write_rows([{"text": row["text"]} for row in labelled_rows], "texts")


def test_documents_are_packed_with_an_end_after_each():
    rows = pack([[1, 2, 3], [4, 5, 9], [6, 7]], 4, 9)
    assert [row["input_ids"] for row in rows] == [[1, 2, 3, 9], [4, 5, 9, 6], [7, 9]]
    assert all(row["labels"] == row["input_ids"] for row in rows)
    assert [len(row["input_ids"]) for row in pack([[1, 2, 3, 4]], 4, 9)] == [4]  # one last token has nothing to follow
    assert [row["input_ids"] for row in pack([[1, 2], [3]], 8, None)] == [[1, 2, 3]]


def test_perplexity_is_that_of_all_tokens_together(make_spec, text_file, logits_of):
    task = build_task(make_spec(text_file, model="gpt2", max_length=32))
    assert (task.kind, task.main_metric, task.higher_is_better) == ("causal-lm", "eval_perplexity", False)
    assert (task.peft_task_type, task.auto_class) == ("CAUSAL_LM", "AutoModelForCausalLM")
    kept = logits_of(task)
    assert kept.shape == (len(task.held_out), 3)
    nats, right, counted = 0.0, 0, 0
    with torch.no_grad():
        for row in task.held_out:
            ids = torch.tensor([row["input_ids"]])
            log_p = torch.log_softmax(task.model(input_ids=ids).logits[0].double(), -1)
            for place in range(len(row["input_ids"]) - 1):
                nats -= log_p[place, ids[0, place + 1]].item()
                right += int(log_p[place].argmax() == ids[0, place + 1])
                counted += 1
    assert task.score(kept, None) == pytest.approx(
        {"loss": nats / counted, "perplexity": math.exp(nats / counted), "token_accuracy": right / counted}, rel=1e-4
    )


def test_longer_rows_weigh_more():
    kept = np.array([[1.0, 1, 0], [30.0, 10, 10]])
    assert next_token_scores(kept, None) == pytest.approx({"loss": 31 / 11, "perplexity": math.exp(31 / 11), "token_accuracy": 10 / 11})
    assert next_token_scores(np.array([[1e6, 1, 0]]), None)["perplexity"] == math.inf


def test_masked_tokens_count_for_nothing():
    logits, labels = torch.randn(2, 6, 11), torch.randint(0, 11, (2, 6))
    labels[0, :3] = -100
    labels[1] = -100
    kept = reduce_next_token(logits, labels)
    assert kept[0, 1] == 3
    assert kept[0, 0].item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits[0, 2:5], labels[0, 3:], reduction="sum").item(), rel=1e-5
    )
    assert kept[1].tolist() == [0, 0, 0]


def test_the_model_goes_on_from_held_out_texts_and_stays_as_it_was(make_spec, text_file):
    task = build_task(make_spec(text_file, model="llama", max_length=64))
    task.model.train()
    before = torch.get_rng_state()
    first, second = task.generate(task.model), task.generate(task.model)
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)
    assert task.model.training
    assert len(first) == 4
    assert all(example.given and example.truth and example.right is None for example in first)
    assert task.show(None) == []


def test_generation_is_the_likeliest_token_each_time_whatever_the_padding(make_spec, text_file):
    from gelora.tasks.next_token import Prompt, generator

    task = build_task(make_spec(text_file, model="llama", max_length=64))
    task.model.eval()
    ids = task.tokenizer("the good film was")["input_ids"]
    alone = list(ids)
    with torch.no_grad():
        for _ in range(5):
            alone.append(int(task.model(input_ids=torch.tensor([alone])).logits[0, -1].argmax()))
    prompts = [Prompt(ids, "a", "b"), Prompt(task.tokenizer("the garden and the rain and the train were loud")["input_ids"], "a", "b")]
    answer = generator(task.tokenizer, prompts, 5)(task.model)[0].prediction
    assert answer == task.tokenizer.decode(alone[len(ids) :], skip_special_tokens=True).strip()


def test_a_checkpoint_without_language_head_is_said(make_spec, text_file):
    task = build_task(make_spec(text_file, model="llama"))
    assert task.random_keys == ("lm_head.weight",)
    assert any("no language head" in note for note in task.notes)


def test_instruction_prompts_are_masked_and_the_end_is_learned(make_spec, write_rows):
    task = build_task(make_spec(write_rows(ALPACA), model="llama", max_length=128))
    assert (task.kind, task.main_metric) == ("instruction", "eval_perplexity")
    for row in [*task.train, *task.held_out]:
        learned = [token for token in row["labels"] if token != -100]
        n_prompt = len(row["labels"]) - len(learned)
        assert row["labels"][:n_prompt] == [-100] * n_prompt
        assert row["input_ids"][n_prompt:] == learned
        assert learned[-1] == task.tokenizer.eos_token_id
        prompt, answer = task.tokenizer.decode(row["input_ids"][:n_prompt]), task.tokenizer.decode(learned[:-1])
        assert prompt.startswith("<s>### Instruction:\nSay what number")
        assert prompt.endswith("### Response:\n")
        assert ("### Input:\nnumber" in prompt) == (int(prompt.split("number ")[1].split()[0]) % 2 == 0)
        assert answer.startswith("It is the number")


def test_a_chat_template_is_used_where_there_is_one(make_spec, write_rows, tiny, tmp_path):
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "chat"
    shutil.copytree(tiny("qwen2"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    task = build_task(make_spec(write_rows(ALPACA), model=folder, max_length=128))
    for row in task.train:
        learned = [token for token in row["labels"] if token != -100]
        assert learned.count(task.tokenizer.eos_token_id) == 1
        text = task.tokenizer.decode(row["input_ids"][: -len(learned)])
        assert text.startswith("<|user|>Say what number")
        assert text.endswith("<|assistant|>")
        assert task.tokenizer.decode(learned).endswith("a good one.<|endoftext|>")


def test_a_broken_chat_template_is_one_sentence(make_spec, write_rows, tiny, tmp_path):
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "chat"
    shutil.copytree(tiny("qwen2"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ raise_exception('no user') }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"chat template .* cannot be used"):
        build_task(make_spec(write_rows(ALPACA), model=folder))


def test_rows_without_room_or_answer_are_left_out_and_counted(make_spec, write_rows):
    rows = [*ALPACA, {"instruction": "word " * 300, "input": "", "output": "too late"}, {"instruction": "say", "input": "", "output": " "}]
    rows[0] = rows[0] | {"output": "on and on " * 100}
    task = build_task(make_spec(write_rows(rows), model="llama", max_length=96, n_train=100))
    assert len(task.train) + len(task.held_out) == 40
    assert "1 row without instruction or answer was left out" in task.notes
    lost = [
        re.search(r"96 tokens cut off the whole answer of (\d) of .* left out, and a part of the answers of (\d)", n) for n in task.notes
    ]
    assert [sum(int(found[group]) for found in lost if found) for group in (1, 2)] == [1, 1]


def test_the_answer_of_a_prompt_is_generated(make_spec, write_rows):
    task = build_task(make_spec(write_rows(ALPACA), model="llama", max_length=128))
    shown = task.generate(task.model)
    assert all(example.truth.startswith("It is the number") and example.given.startswith("Say what number") for example in shown)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"instruction": f"say {i}", "output": ""} for i in range(20)], "No row of .* has text both in 'instruction'"),
        (
            [{"instruction": "word " * 100 + str(i), "output": "yes"} for i in range(20)],
            "prompt of .* leaves room for an answer within 32 tokens",
        ),
        ([{"instruction": "say", "output": "yes"}], "1 usable row; a run needs at least 4"),
    ],
)
def test_instructions_that_cannot_be_learned_are_one_sentence(make_spec, write_rows, rows, sentence):
    with pytest.raises(DataError, match=sentence):
        build_task(make_spec(write_rows(rows), model="llama", task="instruction", max_length=32))


def test_an_encoder_is_no_language_model(make_spec, text_file, write_rows):
    with pytest.raises(DataError, match=r"no labels, so there is nothing to learn for .*, which is no causal language model"):
        build_task(make_spec(text_file))
    with pytest.raises(ModelError, match="is an encoder, whose tokens see those that they would have to guess"):
        build_task(make_spec(text_file, task="causal-lm"))
    with pytest.raises(ModelError, match="is an encoder"):
        build_task(make_spec(write_rows(ALPACA), task="instruction"))


@pytest.mark.parametrize("kind", ["causal-lm", "instruction"])
def test_a_real_model_reads_real_text(make_spec, shared_data, logits_of, kind):
    name, columns = ("alpaca-1k/train.jsonl", {}) if kind == "instruction" else ("uci-sentiment/train.jsonl", {"text_column": "sentence"})
    model = shared_data / "models" / "stories260K"
    task = build_task(make_spec(str(shared_data / name), model=model, columns=columns, task=kind, n_train=40, n_eval=12, max_length=256))
    scores = task.score(logits_of(task), None)
    assert 10 < scores["perplexity"] < 400  # a random model of 512 tokens has 512
    assert task.random_keys == ()
