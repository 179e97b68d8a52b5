"""Conversations as tokens: those of `apply_chat_template` itself, with the answers and what ends them learned, and nothing else."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from gelora.errors import ModelError
from gelora.tasks import build_task
from gelora.tasks.conversation_tokens import conversation_tokens, prompt_tokens
from gelora.tasks.prompts import conversation, without_system

# Small templates in the formats of the families; the system's text stands where theirs does.
TEMPLATES = {
    "llama-2": (
        "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}{% set system = '<<SYS>>\\n' + messages[0].content + "
        "'\\n<</SYS>>\\n\\n' %}{% else %}{% set turns = messages %}{% set system = '' %}{% endif %}"
        "{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "llama-3": (
        "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}"
        "{{ m.content | trim + '<|eot_id|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
    ),
}
ENDS = {"llama-2": " </s>", "zephyr": "</s>", "chatml": "<|im_end|>", "llama-3": "<|eot_id|>"}
SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<think>",
    "</think>",
]
CHATS = {
    "one": [("user", "Name a color."), ("assistant", "Red, or maybe blue.")],
    "several": [
        ("user", "Hello!"),
        ("assistant", "Hi. What is it?"),
        ("user", "One  more\nline"),
        ("assistant", "Yes."),
        ("user", "?"),
        ("assistant", "No"),
    ],
    "system": [("system", "Be kind."), ("user", "Say it again"), ("assistant", "again"), ("user", "and again"), ("assistant", "again")],
    "strange letters": [("user", "Grüße 你好"), ("assistant", "🙂 naïve 你好"), ("user", "🙂"), ("assistant", "ß🙂")],
    "answers that stand elsewhere": [
        ("user", "assistant user </ [/INST]"),
        ("assistant", "user"),
        ("user", "user"),
        ("assistant", "assistant\nuser"),
    ],
}
LINES = ["Name a color, or maybe say it again.", "Red, blue. Yes. No. What is it? One more line", "Be kind and hello! Hi user assistant"]


def messages_of(chat):
    return [{"role": role, "content": text} for role, text in chat]


def make_tokenizer(kind):
    """Byte-level as GPT-2, or with a dummy prefix as SentencePiece has it: by normalizer (Llama-2) or by Metaspace."""
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        if kind == "llama":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        alphabet = []
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if kind != "bytes" else []
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=SPECIAL + bytes_, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES * 3, trainer)
    if bytes_:  # bytes are no special tokens; they were in the trainer's list so that they have a place
        state = json.loads(tokenizer.to_str())
        state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIAL]
        tokenizer = Tokenizer.from_str(json.dumps(state))
    special = [("<s>", tokenizer.token_to_id("<s>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>")


@pytest.fixture(scope="module", params=["bytes", "llama", "metaspace"])
def tokenizer(request):
    return make_tokenizer(request.param)


def learned_runs(tokenizer, ids, learned):
    """What is learned, run by run, as text."""
    runs, last = [], False
    for token, is_learned in zip(ids, learned, strict=True):
        if is_learned and not last:
            runs.append([])
        if is_learned:
            runs[-1].append(token)
        last = bool(is_learned)
    return [tokenizer.decode(run, skip_special_tokens=False, clean_up_tokenization_spaces=False) for run in runs]


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("chat", CHATS)
def test_tokens_are_the_template_s_own_and_each_answer_is_learned_with_its_end(tokenizer, family, chat):
    tokenizer.chat_template = TEMPLATES[family]
    messages = messages_of(CHATS[chat])
    made = conversation(tokenizer, messages)
    [(ids, learned)] = conversation_tokens(tokenizer, [made])
    assert ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == made.text.count("<s>")
    answers = [text + ENDS[family] for role, text in CHATS[chat] if role == "assistant"]
    assert [run.lstrip(" ") for run in learned_runs(tokenizer, ids, learned)] == answers
    [prompt] = prompt_tokens(tokenizer, [made])
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    assert prompt == tokenizer.apply_chat_template(messages[:first], tokenize=True, add_generation_prompt=True, return_dict=False)


def test_without_a_template_answers_stand_under_headings_and_are_ended(tokenizer):
    tokenizer.chat_template = None
    made = conversation(tokenizer, messages_of(CHATS["several"]))
    [(ids, learned)] = conversation_tokens(tokenizer, [made])
    assert ids == tokenizer(made.text)["input_ids"] and ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert learned_runs(tokenizer, ids, learned) == ["Hi. What is it?</s>", "Yes.</s>", "No</s>"]
    assert made.prompt == "### Instruction:\nHello!\n\n### Response:\n"
    # Tokenised alone, a SentencePiece answer would begin with a dummy prefix, which no model writes after a line's end.
    [prompt] = prompt_tokens(tokenizer, [made])
    assert ids[: len(prompt)] == prompt and not learned[: len(prompt)].any() and learned[len(prompt)]


def test_what_a_tokenizer_puts_at_the_end_of_every_text_is_there_once():
    tokenizer = make_tokenizer("bytes")
    ends = [("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    made = conversation(tokenizer, messages_of(CHATS["one"]))
    [(ids, learned)] = conversation_tokens(tokenizer, [made])
    assert ids.count(tokenizer.eos_token_id) == 1 and learned[-1]
    assert tokenizer.eos_token_id not in prompt_tokens(tokenizer, [made])[0]


@pytest.mark.parametrize(
    ("template", "chat", "answers"),
    [
        (  # a prompt that opens a thinking part, which old answers do not have
            "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '</s>' }}{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant<think>{% endif %}",
            "several",
            ["Hi. What is it?</s>", "Yes.</s>", "No</s>"],
        ),
        (  # the last answer alone keeps an (empty) thinking part, and a text end follows the last turn
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
            "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}"
            "{{ m.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt else eos_token }}",
            "several",
            ["Hi. What is it?<|im_end|>", "Yes.<|im_end|>", "<think></think>No<|im_end|>"],
        ),
        (  # the system's text stands in the last message of the user
            "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' }}{% if loop.index0 >= messages | length - 2 %}"
            "{{ messages[0].content }}{% endif %}{{ m.content + '[/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + eos_token }}"
            "{% endif %}{% endfor %}",
            "system",
            ["again</s>", "again</s>"],
        ),
        (  # ends that are words, no tokens of their own
            "{% for m in messages %}{{ m.role + ': ' + m.content + '[end]\\n' }}{% endfor %}{{ 'assistant: ' if add_generation_prompt }}",
            "one",
            ["Red, or maybe blue.[end]"],
        ),
        (  # no end at all
            "{% for m in messages %}{{ m.role + ':\\n' + m.content + '\\n' }}{% endfor %}{{ 'assistant:\\n' if add_generation_prompt }}",
            "one",
            ["Red, or maybe blue.</s>"],
        ),
    ],
)
def test_templates_of_other_ways_learn_the_answers_too(template, chat, answers):
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = template
    messages = messages_of(CHATS[chat])
    made = conversation(tokenizer, messages)
    [(ids, learned)] = conversation_tokens(tokenizer, [made])
    assert learned_runs(tokenizer, ids, learned) == answers
    if not made.end_added:
        assert ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)


def test_of_an_answer_that_the_template_shortens_the_rest_is_learned():
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content if loop.last else m.content.split('</think>')[-1]) + "
        "'<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"
    )
    chat = [("user", "a"), ("assistant", "<think>b</think>c"), ("user", "d"), ("assistant", "<think>e</think>f")]
    [(ids, learned)] = conversation_tokens(tokenizer, [conversation(tokenizer, messages_of(chat))])
    assert learned_runs(tokenizer, ids, learned) == ["c<|im_end|>", "<think>e</think>f<|im_end|>"]


@pytest.mark.parametrize("family", ["chatml", None])
def test_a_tokenizer_without_places_learns_the_same_tokens(family):
    """A slow one whose tokens are bytes, so that all is known without it."""
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = TEMPLATES["chatml"] if family else None
    made = conversation(tokenizer, messages_of(CHATS["several"]))
    assert not tokenizer.is_fast
    [(ids, learned)] = conversation_tokens(tokenizer, [made])
    end = "<|im_end|>" if family else "</s>"
    assert learned_runs(tokenizer, ids, learned) == [text + end for text in ("Hi. What is it?", "Yes.", "No")]


def test_a_system_text_goes_before_the_user_s_where_the_template_has_no_place_for_it():
    assert without_system(messages_of(CHATS["system"]))[:2] == messages_of([("user", "Be kind.\n\nSay it again"), ("assistant", "again")])


def test_every_answer_of_a_chat_is_learned_and_what_was_left_out_is_said(make_spec, write_rows, tmp_path):
    from tiny_models import tiny_model

    folder = tmp_path / "chat"
    tokenizer = make_tokenizer("bytes")
    tokenizer.chat_template = TEMPLATES["llama-2"].replace("{% set turns = messages[1:] %}", "{{ raise_exception('no system') }}")
    tokenizer.save_pretrained(folder)
    tiny_model("llama", vocab_size=len(tokenizer)).save_pretrained(folder)
    chats = [[*messages_of(CHATS["several"]), {"role": "user", "content": "last"}] for _ in range(20)]
    for i, chat in enumerate(chats):
        chat[0] = {"role": "user", "content": f"Hello {i}!"}
    chats[3] = messages_of(CHATS["system"])
    chats[4] = messages_of([("assistant", "Greetings"), *CHATS["one"]])
    chats[5] = messages_of([*CHATS["one"], ("tool", "42"), ("assistant", "42")])
    chats[6] = messages_of([("user", "nobody answers")])
    task = build_task(make_spec(write_rows([{"messages": chat} for chat in chats]), model=folder, n_train=100, max_length=128))
    assert task.kind == "instruction"
    rows = [*task.train, *task.held_out]
    counts = sorted(sum(label == tokenizer.eos_token_id for label in row["labels"]) for row in rows)
    assert counts == [1, 2, *[3] * 16]
    said = " | ".join(task.notes)
    assert "1 row without instruction or answer was left out" in said
    assert "takes no system message; 1 " in said
    assert "1 chat was left out" in said and "roles must alternate" in said
    assert any(example.truth == "Hi. What is it?" for example in task.generate(task.model))


def test_a_template_that_takes_no_chat_is_refused():
    tokenizer = make_tokenizer("bytes")
    for template, sentence in (("{{ messages[7].role }}", "cannot be used"), ("{{ messages[0].content }}", "leaves answers out")):
        tokenizer.chat_template = template
        with pytest.raises(ModelError, match=sentence):
            conversation(tokenizer, messages_of(CHATS["one"]))
