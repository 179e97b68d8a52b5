"""Expressions out of a stranger's config: what PEFT means by them, within a limit of time, in every field."""

import re
import signal

import pytest
from hypothesis import given, strategies as st
from peft.tuners.tuners_utils import check_target_module_exists
from tiny_models import tiny_config, tiny_model

from gelora.errors import GeloraError, InputError
from gelora.ranks import plan_from_adapter
from gelora.ranks.peft import expressions
from gelora.ranks.peft.expressions import Expressions
from gelora.sources import structure_of

# Takes `re`, and `regex` without a clock, longer than anybody waits, on a name of thirty letters.
ENDLESS = r"(?:[a-z]|[a-z.]|[_\d])+(?:[a-z]|[a-z.]|[_\d])+(?=\d$)"
# These `regex` answers at once, and `re`, which PEFT would ask, as good as never.
ENDLESS_IN_RE = [r"([a-z_.0-9]+)+X", r"((?:\w|[.])+)+!", r"((?:[a-z_.0-9]*)*)*!"]
FIELDS = {
    "target_modules": lambda text: {"target_modules": text},
    "exclude_modules": lambda text: {"exclude_modules": text},
    "rank_pattern": lambda text: {"rank_pattern": {text: 2}},
    "alpha_pattern": lambda text: {"alpha_pattern": {text: 2}},
    "modules_to_save": lambda text: {"modules_to_save": [text]},
    "layers_pattern": lambda text: {"layers_to_transform": [0], "layers_pattern": [text]},
}
GOOD = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}


@pytest.fixture(scope="module")
def llama():
    return structure_of(tiny_model("llama"), "llama", "rev")


@pytest.mark.parametrize("field", FIELDS)
def test_an_expression_that_never_ends_is_one_sentence_in_every_field(llama, monkeypatch, field):
    monkeypatch.setattr(expressions, "SECONDS", 0.05)
    with pytest.raises(InputError, match=rf"In the adapter {field} has the expression .* takes longer than 0.05 s") as error:
        plan_from_adapter(GOOD | FIELDS[field](ENDLESS), llama, tiny_config("llama"))
    assert "\n" not in str(error.value) and repr(ENDLESS)[:20] in str(error.value)


@pytest.mark.parametrize("text", ENDLESS_IN_RE)
@pytest.mark.parametrize("field", FIELDS)
def test_an_expression_that_is_endless_to_re_alone_never_reaches_it(llama, field, text):
    def late(*_):
        raise AssertionError(f"{field} {text} was given to re")

    before = signal.signal(signal.SIGALRM, late)  # `re` looks at signals
    signal.alarm(60)
    try:
        config = GOOD | FIELDS[field](text)
        if field in ("target_modules", "layers_pattern"):  # means nothing, so that nothing is left to adapt
            with pytest.raises(GeloraError, match=r"does not fit llama|adapts nothing in llama"):
                plan_from_adapter(config, llama, tiny_config("llama"))
        else:
            assert plan_from_adapter(config, llama, tiny_config("llama")).n_trained_params == 3 * 2 * 64
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_all_expressions_of_an_adapter_share_one_limit():
    read = Expressions("a config", seconds=0.05)
    with pytest.raises(InputError, match="longer than"):
        read.fits("exclude_modules", ENDLESS, "model.layers.10.self_attn.q_proj")
    with pytest.raises(InputError, match=r"target_modules has the expression '\.\*q_proj'"):
        read.fits("target_modules", ".*q_proj", "model.layers.0.self_attn.q_proj")


def test_what_re_does_not_take_is_refused_though_regex_would_take_it():
    for text in (r"\p{L}+", r"(?|a|b)", r"(?R)", "(", "a{99999999999}", "x++?+"):
        with pytest.raises(InputError, match=r"rank_pattern: .* is no regular expression"):
            Expressions("a config").check("rank_pattern", text)
    with pytest.raises(InputError, match=r"alpha_pattern: .* is no regular expression"):
        Expressions("a config").check("alpha_pattern", "(?i)q_proj")  # inside PEFT's own parentheses flags are too late
    Expressions("a config").check("target_modules", "(?i).*Q_PROJ")


def test_a_text_without_end_is_not_even_compiled():
    with pytest.raises(InputError, match=r"has a text of 200,000 characters; 100,000 are read at most"):
        Expressions("a config").check("target_modules", "q|" * 100_000)


def test_the_full_names_of_a_large_model_with_plain_dots_are_read_well_within_the_limit():
    names = [f"model.layers.{i}.{n}_proj" for i in range(80) for n in ("q", "k", "v", "o", "gate", "up", "down")]
    read = Expressions("a config", seconds=0.2)
    found = read.first_fitting("rank_pattern", names[::-1], names)
    assert found == {name: name for name in names}
    assert read.first_fitting("alpha_pattern", [*names[:300], r".*\.(q|k)_proj"], names)[names[-7]] == r".*\.(q|k)_proj"


PIECES = st.sampled_from(
    ["layers", r"\.", ".", r"\d", "0", "[01]", ".*", "(q|k)", "q_proj", "k_proj", "self_attn", "(?:mlp)?", "{e}", "[[:alpha:]]", "$", "^"]
)
NAMES = ["model.layers.0.self_attn.q_proj", "layers.1.mlp.k_proj", "q_proj", "a{e}"]


@given(st.lists(PIECES, min_size=1, max_size=5).map("".join))
def test_an_expression_means_what_it_means_to_re(text):
    read = Expressions("a config")
    try:
        re.compile(text)
    except re.error:
        return
    forms = {"rank_pattern": rf"(.*\.)?({text})$", "modules_to_save": rf"(^|.*\.){text}($|\..*)"}
    for name in NAMES:
        assert read.fits("target_modules", text, name) == bool(re.fullmatch(text, name))
        for field, whole in forms.items():
            assert read.fits(field, text, name) == bool(re.match(whole, name))
        found = re.match(rf"(?:^|.*?\.){text}\.(?P<idx>\d+)\.", name)
        assert read.layer_number(text, name) == (int(found["idx"]) if found else None)


def test_the_texts_here_are_asked_of_peft_as_it_asks_them():
    # The forms above are PEFT's: it finds the same names by them.
    class Config:
        target_modules, exclude_modules, modules_to_save = r".*q_proj", r".*\.1\..*", ["k_pr.j"]

    for name in (*NAMES, "layers.1.q_proj", "layers.0.k_prxj.q_proj"):
        read = Expressions("a config")
        is_left = not read.fits("exclude_modules", r".*\.1\..*", name) and not read.fits("modules_to_save", "k_pr.j", name)
        found = check_target_module_exists(Config, name)
        assert (read.fits("target_modules", ".*q_proj", name) and is_left) == bool(found and type(found).__name__ != "_ExcludedModule")
