"""Records survive JSON bit for bit, say what is wrong with bad JSON in one sentence, and are equal by content."""

import dataclasses
import hashlib
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from gelora import records
from gelora.errors import DataError, GeloraError, InputError
from gelora.record_json import Record, read_only
from gelora.records import (
    AlsoTrained,
    BlockTraits,
    Budget,
    DataChoice,
    HiddenStates,
    IdEstimate,
    IdProfile,
    LayerSimilarity,
    MemoryEstimate,
    ModelStructure,
    ModuleScores,
    NeighborGraph,
    RankPlan,
    ReadReport,
    RunSpec,
    Sample,
    SampleSource,
    ScaleCurve,
    TargetModule,
    TrainingConfig,
    resolve_device,
)

NAN = float("nan")
SOURCE = SampleSource(DataChoice("docstrings", text_column="text"), "rev", 0, 3, True, "abcd")
MODULES = (TargetModule("layer.0.q", 1, "q", 8, 4), TargetModule("layer.1.q", 2, "q", 8, 4))
MODEL = ModelStructure("m", "r", "bert", 2, 8, 1000, False, False, MODULES)


def a_plan(**changes) -> RankPlan:
    fields = {
        "modules": MODULES,
        "ranks": {"layer.0.q": 2, "layer.1.q": 0},
        "alphas": {"layer.0.q": 64.0, "layer.1.q": 0.0},
        "strategy": "gelora",
        "offset": 0,
        "rounding": "ceil",
        "estimator": "twonn",
        "target_modules": "attention",
        "model_id": "m",
        "revision": "r",
        "n_model_params": 1000,
        "profile_digest": "0" * 16,
        "block_notes": {2: "rises by nothing"},
    }
    return RankPlan(**(fields | changes))


def a_scale_curve() -> ScaleCurve:
    table = np.array([[np.nan, np.nan], [2.5, 2.0], [1 / 3, 0.1]])
    return ScaleCurve("twonn", "decimation", np.array([3.0, 1.0]), table, table / 10, table * 2)


def a_profile(**changes) -> IdProfile:
    curve = (
        IdEstimate("twonn", None, None, None, 3, 1, 0.1, "1 distinct vector of 3"),
        IdEstimate("twonn", 2.5, 2.25, 2.75, 3, 3, 0.1),
        IdEstimate("twonn", 1 / 3, 0.0, 0.5, 3, 3, 0.1),
    )
    fields = {
        "layer_names": ("embeddings", "block 1", "block 2"),
        "estimates": {"twonn": curve},
        "subsamples": {"twonn": np.array([[np.nan, 0.1, -0.0], [np.nan, 1e-300, 1 / 3]])},
        "model": MODEL,
        "sample_source": SOURCE,
        "pooling": "mean",
        "max_length": 128,
        "n_neighbors": 20,
        "metric": "euclidean",
        "scale_curves": {"decimation:twonn": a_scale_curve()},
        "baselines": {"shuffled": {"twonn": np.array([np.nan, 4.5, 1 / 3])}},
    }
    return IdProfile(**(fields | changes))


def one_of_each() -> list[Record]:
    rng = np.random.default_rng(0)
    distances = np.sort(rng.random((3, 2)), axis=1)
    return [
        DataChoice("docstrings"),
        SOURCE,
        ReadReport("CSV", 3, 1, ("line 4: 3 cells",), separator=";", has_header=True),
        Sample(("a", "é\n\u2028\U0001f600"), ("b", ""), (0.0, 1.0), ("no", "yes"), "classification", SOURCE),
        Sample(("a",), None, None, None, "unlabeled", SOURCE),
        MODULES[0],
        MODEL,
        HiddenStates(rng.normal(size=(3, 2, 8)), ("e", "1", "2"), "mean", 128, "float32", False, MODEL, SOURCE),
        NeighborGraph(distances, np.array([[1, 2], [0, 2], [0, 1]]), np.array([0, 2, 3]), 1, "euclidean"),
        a_profile().estimates["twonn"][0],
        a_scale_curve(),
        a_profile(),
        a_profile(subsamples={"twonn": np.empty((0, 3))}, scale_curves={}),
        a_similarity(),
        a_plan(),
        Budget(10, 2, 1000, 48, 96),
        AlsoTrained("modules trained whole", ("score",), 64),
        records.SinkReport("drop", 5.0, 9, *(np.array([0.1, np.nan]),) * 4, np.array([]), 1, (3,)),
        BlockTraits(12, 2, True, False, True, 0, "silu", 0.0, 1),
        MemoryEstimate(4000, 48, 96, 12_000, 0, 16, 128, "bfloat16", "classification", False),
        ModuleScores("gradient", {"a": 0.25, "b": 0.75}, {}, "m", "r", 8, "by hand", 0.5, 2),
        ModuleScores("eva", {"a": 1.0}, {"a": np.array([0.5, 0.25])}, "m", "r", 8, "by hand", 0.5),
        TrainingConfig(learning_rate=1e-3),
        RunSpec("m", DataChoice("docstrings"), a_plan(), TrainingConfig(), 7),
        RunSpec("m", DataChoice("docstrings"), None, TrainingConfig(method="head")),
        RunSpec("m", DataChoice("a.jsonl"), a_plan(), TrainingConfig(reallocate_at=(0.25, 0.5)), 1, DataChoice("b.jsonl")),
        a_race(),
        a_study(),
        *a_study().rows,
        *a_study().not_run,
        *a_study().predictors,
        records.race_run(RunSpec("m", DataChoice("docstrings"), a_plan(), TrainingConfig()), a_race()),
    ]


def a_study() -> records.Study:
    found = {"eval_loss": 1 / 3, "main_metric": "eval_f1", "metric": None, "losses": (0.1, None), "difference": -1e-300}
    row = records.StudyRow(
        "task", "model", "data", "uniform:2", 200, "gelora", 5e-4, 196, (1, 2), **found, ci_low=-0.1, ci_high=0.1, p_corrected=None,
        is_reference=False, is_best_rate=True, n_steps=3, n_held_out=20, run="run",
    )  # fmt: skip
    table = records.BlockTable("task", "model", {"depth": (1.0, 2.0), "rise:twonn": (None, 0.1)})
    return records.Study("one", "uniform", (row,), (records.NotRun("task", "uniform:4", "not yet run"),), {"torch": "2"}, (table,))


def a_race() -> records.RaceSpec:
    return records.RaceSpec({"b": a_plan(), "a": a_plan()}, (1 / 3000, 2e-3), (7, 0), 100, "a")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"baselines": {"shuffled": {"twonn": np.ones(2)}}}, "one row for each of the 3 layers"),
        ({"subsamples": {"twonn": np.ones((4, 2))}}, "expected \\[n_subsamples, 3\\]"),
    ],
)
def test_a_profile_with_parts_of_another_length_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        a_profile(**changes)


def test_a_scale_curve_needs_tables_of_one_shape():
    with pytest.raises(InputError, match="n_scales"):
        ScaleCurve("twonn", "decimation", np.ones(2), np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(InputError, match="decimation, neighbors"):
        ScaleCurve("twonn", "depth", np.ones(1), *[np.ones((3, 1))] * 3)


def a_similarity(**changes) -> LayerSimilarity:
    matrix, row = np.array([[1.0, 1 / 3], [1 / 3, np.nan]]), np.array([1e-300])
    tables = {"overlap": matrix, "cka": -matrix, "forward": row, "backward": row, "label_overlap": np.array([0.5, np.nan])}
    fields = {
        "layer_names": ("embeddings", "block 1"), "n_rows": 3, "n_neighbors": 1, "metric": "euclidean", "label_kind": "regression",
        "label_chance": 0.1, "notes": {"block 1": "1 distinct vector of 3"}, "model": MODEL, "sample_source": SOURCE, "pooling": "mean",
        "max_length": 16, **tables, **{f"{name}_half_width": table / 7 for name, table in tables.items()},
    }  # fmt: skip
    return LayerSimilarity(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"forward": np.ones(2)}, "forward has the shape \\(2,\\)"),
        ({"cka_half_width": np.ones((2, 3))}, "cka_half_width"),
        ({"label_kind": ""}, "2 layers need \\(0,\\)"),
        ({"label_kind": "colours"}, "classification, regression"),
    ],
)
def test_a_similarity_needs_tables_of_its_layers(changes, says):
    with pytest.raises(InputError, match=says):
        a_similarity(**changes)


def test_the_list_here_holds_every_kind_of_record():
    kinds = {value for value in vars(records).values() if isinstance(value, type) and issubclass(value, Record)} - {Record}
    assert {type(record) for record in one_of_each()} == kinds


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_record_comes_back_from_json_as_it_was(record, indent):
    text = record.to_json(indent=indent)
    again = type(record).from_json(text)
    assert again == record
    assert again.digest() == record.digest()
    assert hash(again) == hash(record)
    assert again.to_json(indent=indent) == text
    assert json.loads(text)["record"] == type(record).__name__  # strict JSON with the kind in it
    assert "NaN" not in text and "Infinity" not in text


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(3)), elements=st.floats(allow_infinity=False)),
    states=hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 3), st.integers(1, 3))),
    texts=st.lists(st.text(), min_size=1, max_size=3),
    number=st.floats(0, 1e300),
)
def test_arrays_numbers_and_texts_come_back_bit_for_bit(values, states, texts, number):
    profile = a_profile(subsamples={"twonn": values})
    back = IdProfile.from_json(profile.to_json()).subsamples["twonn"]
    assert back.shape == values.shape
    is_number = ~np.isnan(values)
    assert back[is_number].tobytes() == values[is_number].tobytes()
    assert np.isnan(back[~is_number]).all()

    hidden = HiddenStates(states, ("e", "1", "2"), "cls", 8, "float32", True, MODEL, SOURCE)
    assert HiddenStates.from_json(hidden.to_json()).values.tobytes() == states.tobytes()  # infinities and NaN payloads too

    sample = Sample(tuple(texts), None, None, None, "unlabeled", SOURCE)
    assert Sample.from_json(sample.to_json()).texts == tuple(texts)

    estimate = IdEstimate("twonn", number, 0.0, number, 3, 3, 0.0)
    assert IdEstimate.from_json(estimate.to_json()).dimension == number


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
def test_the_digest_does_not_depend_on_the_order_of_fields_or_keys(record):
    def reordered(data):
        if isinstance(data, dict):
            return {key: reordered(data[key]) for key in reversed(data)}
        return [reordered(item) for item in data] if isinstance(data, list) else data

    assert type(record).from_json(json.dumps(reordered(json.loads(record.to_json())))).digest() == record.digest()


def test_the_digest_changes_with_the_content():
    assert len({record.digest() for record in one_of_each()}) == len(one_of_each())
    assert a_plan().digest() != a_plan(ranks={"layer.0.q": 1, "layer.1.q": 0}).digest()
    assert a_profile().digest() != a_profile(subsamples={"twonn": np.array([[np.nan, 0.1, 0.0], [np.nan, 1e-300, 0.33]])}).digest()


def test_a_digest_is_the_sha256_of_the_sorted_fields_so_it_is_the_same_in_every_process():
    text = '{"config":null,"dataset":"docstrings","label_column":null,"pair_column":null,"split":null,"text_column":null}'
    assert DataChoice("docstrings").digest() == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_records_are_equal_by_content_where_nan_equals_nan():
    assert a_profile() == a_profile()
    assert a_profile() != a_profile(subsamples={"twonn": np.array([[np.nan, 0.1, 0.5], [np.nan, 1e-300, 1 / 3]])})
    assert a_profile() != a_profile(pooling="cls")
    assert DataChoice("a") != "a"
    assert len({a_plan(), a_plan(), a_plan(strategy="uniform")}) == 2


def test_arrays_of_records_cannot_be_written_to_from_either_side():
    given_array = np.zeros((3, 2, 8), np.float32)
    states = HiddenStates(given_array, ("e", "1", "2"), "mean", 8, "float32", False, MODEL, SOURCE)
    given_array[:] = 1
    assert not states.values.any()
    for array in (states.values, HiddenStates.from_json(states.to_json()).values, a_profile().subsamples["twonn"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_read_only_copies_a_view_whose_base_could_change():
    base = np.zeros(4)
    view = read_only(base[::2], np.float64)
    base[:] = 1
    assert not view.any()


def edited(record, **changes) -> str:
    return json.dumps(json.loads(record.to_json()) | changes)


PLAN_JSON = a_plan().to_json()


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (RankPlan, "", "not JSON"),
        (RankPlan, "{", "not JSON"),
        (RankPlan, "[" * 100_000, "not JSON"),
        (RankPlan, "[1]", "JSON form of RankPlan, got 'list'"),
        (RankPlan, "null", "JSON form of RankPlan"),
        (RankPlan, "{}", "got 'no record name'"),
        (RankPlan, a_profile().to_json(), "JSON form of RankPlan, got 'IdProfile'"),
        (RankPlan, edited(a_plan(), extra=1), "unknown fields .'extra'."),
        (RankPlan, '{"record": "RankPlan"}', "lacks .*'modules'"),
        (RankPlan, edited(a_plan(), modules={}), "RankPlan.modules must be a list, got dict"),
        (RankPlan, edited(a_plan(), modules=["q"]), r"RankPlan.modules\[0\] must be an object, got str"),
        (RankPlan, edited(a_plan(), ranks=[]), "RankPlan.ranks must be an object, got list"),
        (RankPlan, edited(a_plan(), ranks={"layer.0.q": 1.5, "layer.1.q": 1}), "RankPlan.ranks.layer.0.q must be int, got 1.5"),
        (RankPlan, edited(a_plan(), ranks={"layer.0.q": True, "layer.1.q": 1}), "must be int, got True"),
        (RankPlan, edited(a_plan(), offset="1"), "RankPlan.offset must be int, got '1'"),
        (RankPlan, edited(a_plan(), strategy=None), "RankPlan.strategy must be str, got None"),
        (RankPlan, edited(a_plan(), block_notes={"first": "why"}), "keys of RankPlan.block_notes must be whole numbers, got 'first'"),
        (RankPlan, PLAN_JSON.replace("64.0", "NaN"), "NaN is not a JSON number"),
        (RankPlan, PLAN_JSON.replace("64.0", "-Infinity"), "-Infinity is not a JSON number"),
        (RankPlan, PLAN_JSON.replace("64.0", "1" + "0" * 400), "too large"),
        (IdProfile, edited(a_profile(), subsamples={"twonn": [[1.0], [1.0, 2.0]]}), "IdProfile.subsamples.twonn is not an array"),
        (IdProfile, edited(a_profile(), subsamples={"twonn": {"dtype": "float32"}}), "is not an array"),
        (IdProfile, edited(a_profile(), subsamples={"twonn": [10**400]}), "is not an array"),
        (IdProfile, edited(a_profile(), subsamples={"twonn": [[1.0, 2.0]]}), r"shape \(1, 2\); expected \[n_subsamples, 3\]"),
        (IdProfile, edited(a_profile(), subsamples={"twonn": "abc"}), "is not an array"),
        (
            IdProfile,
            edited(a_profile(), subsamples={"twonn": {"dtype": "float64", "shape": [2], "base64": "AAAA"}}),
            "is not an array",
        ),
    ],
)
def test_bad_json_is_answered_with_one_sentence(kind, text, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        kind.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "record", [a_plan(), a_profile(), RunSpec("m", DataChoice("d"), a_plan(), TrainingConfig())], ids=lambda r: type(r).__name__
)
@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=3,
    ),
)
def test_a_field_replaced_by_anything_gives_a_record_or_an_error_for_the_person(record, data, value):
    field = data.draw(st.sampled_from([name for name in json.loads(record.to_json()) if name != "record"]))
    inside = data.draw(st.booleans())
    try:
        read = type(record).from_json(edited(record, **{field: {"twonn": value} if inside else value}))
    except GeloraError:
        return
    assert type(record).from_json(read.to_json()) == read


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Sample((), None, None, None, "unlabeled", SOURCE), DataError, "empty"),
        (lambda: Sample(("a",), ("b", "c"), None, None, "unlabeled", SOURCE), InputError, "text_pairs has 2 rows, texts has 1"),
        (lambda: Sample(("a",), None, (1.0, 2.0), None, "regression", SOURCE), InputError, "labels has 2 rows"),
        (lambda: Sample(("a",), None, None, None, "regression", SOURCE), InputError, "must have labels"),
        (lambda: Sample(("a",), None, (1.0,), None, "unlabeled", SOURCE), InputError, "must not have labels"),
        (lambda: Sample(("a",), None, None, None, "guess", SOURCE), InputError, "'guess'; choose one of: classification"),
        (lambda: ModelStructure("m", "r", "bert", 0, 8, 1, False, False, ()), InputError, "n_layers is 0"),
        (lambda: ModelStructure("m", "r", "bert", 1, 8, 1, False, False, MODULES), InputError, "block of layer.1.q is 2"),
        (
            lambda: HiddenStates(np.zeros((2, 3)), ("e", "1"), "mean", 8, "float32", False, MODEL, SOURCE),
            InputError,
            r"shape \(2, 3\)",
        ),
        (
            lambda: HiddenStates(np.zeros((2, 3, 4)), ("e",), "mean", 8, "float32", False, MODEL, SOURCE),
            InputError,
            r"expected \[1, n_samples",
        ),
        (
            lambda: HiddenStates(np.zeros((1, 3, 4)), ("e",), "max", 8, "float32", False, MODEL, SOURCE),
            InputError,
            "mean, cls, last, tokens",
        ),
        (lambda: NeighborGraph(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(3), 0, "euclidean"), InputError, "must be"),
        (lambda: NeighborGraph(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(2), 0, "euclidean"), InputError, "must be"),
        (lambda: NeighborGraph(np.zeros((3, 2)), np.zeros((3, 2)), np.array(3), 0, "euclidean"), InputError, "must be"),
        (lambda: IdEstimate("twonn", None, None, None, 3, 1, 0.0), InputError, "needs its reason"),
        (lambda: IdEstimate("twonn", NAN, None, None, 3, 1, 0.0), InputError, "dimension is nan"),
        (lambda: IdEstimate("twonn", math.inf, None, None, 3, 1, 0.0), InputError, "dimension is inf"),
        (lambda: IdEstimate("twonn", -1.0, None, None, 3, 1, 0.0), InputError, "dimension is -1"),
        (lambda: a_profile(layer_names=("embeddings",)), InputError, "3 estimates for 1 layers"),
        (lambda: a_profile().dimensions("danco"), InputError, "'danco'; choose one of: twonn"),
        (lambda: a_plan(ranks={"layer.0.q": 1}), InputError, "exactly one rank"),
        (lambda: a_plan(alphas={"layer.0.q": 32.0}), InputError, "exactly one rank"),
        (lambda: a_plan(modules=()), InputError, "at least one module"),
        (lambda: a_plan(modules=(MODULES[0], MODULES[0], MODULES[1])), InputError, "exactly one rank"),
        (
            lambda: a_plan(ranks={"layer.0.q": 5, "layer.1.q": 0}),
            InputError,
            "rank of layer.0.q is 5; it must be a whole number from 0",
        ),
        (lambda: a_plan(ranks={"layer.0.q": -1, "layer.1.q": 0}), InputError, "rank of layer.0.q is -1"),
        (lambda: a_plan(alphas={"layer.0.q": 0.0, "layer.1.q": 0.0}), InputError, "alpha of layer.0.q is 0.0; it must be positive"),
        (lambda: a_plan(alphas={"layer.0.q": NAN, "layer.1.q": 0.0}), InputError, "alpha of layer.0.q is nan"),
        (lambda: a_plan(ranks={"layer.0.q": 0, "layer.1.q": 0}), InputError, "Every rank of the plan is 0.*raise the offset"),
        (lambda: TrainingConfig(epochs=0), InputError, "epochs is 0; it must be from 0.01 to 1000"),
        (lambda: TrainingConfig(learning_rate=NAN), InputError, "learning_rate is nan"),
        (lambda: TrainingConfig(learning_rate=-1e-4), InputError, "learning_rate is -0.0001"),
        (lambda: TrainingConfig(batch_size=0), InputError, "batch_size is 0; it must be a whole number of at least 1"),
        (lambda: TrainingConfig(batch_size=2.5), InputError, "batch_size is 2.5; it must be a whole number"),
        (lambda: TrainingConfig(n_train=1), InputError, "n_train is 1"),
        (lambda: TrainingConfig(lora_dropout=1.0), InputError, "lora_dropout is 1.0"),
        (lambda: TrainingConfig(method="ia3"), InputError, "'ia3'; choose one of: lora, adalora, head, bitfit, full"),
        (lambda: TrainingConfig(task="translation"), InputError, "'translation'; choose one of: auto, classification"),
        (lambda: TrainingConfig(init_lora_weights="eva"), InputError, "'eva'; choose one of: default, gaussian"),
        (lambda: TrainingConfig(gradient_accumulation=0), InputError, "gradient_accumulation is 0"),
        (lambda: TrainingConfig(probe_size=-1), InputError, "probe_size is -1"),
        (lambda: TrainingConfig(reallocate_at=(0.5, 1.0)), InputError, "reallocate_at is 1.0; it must be from 0.01 to 0.99"),
        (lambda: TrainingConfig(method="full", reallocate_at=(0.5,)), InputError, "'full' has no ranks to re-allocate"),
        (lambda: TrainingConfig(use_dora=True, reallocate_at=(0.5,)), InputError, "cannot be resized; leave reallocate_at empty"),
        (lambda: TrainingConfig(method="head", use_dora=True), InputError, "are for method 'lora', not 'head'"),
        (lambda: TrainingConfig(device="tpu"), InputError, "auto, cpu, cuda"),
        (lambda: TrainingConfig(precision="int8"), InputError, "auto, float32, bfloat16"),
        (lambda: RunSpec("m", DataChoice("d"), None, TrainingConfig()), InputError, "'lora' needs a rank plan"),
        (lambda: RunSpec("m", DataChoice("d"), None, TrainingConfig(method="adalora")), InputError, "'adalora' needs a rank plan"),
        (lambda: RunSpec("m", DataChoice("d"), a_plan(), TrainingConfig(method="head")), InputError, "'head' needs no plan"),
        (lambda: RunSpec("m", DataChoice("d"), a_plan(), TrainingConfig(method="full")), InputError, "'full' needs no plan"),
    ],
)
def test_what_is_illegal_is_refused_with_one_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_undefined_layers_are_nan_in_the_curve_and_null_in_json():
    profile = a_profile()
    curve = profile.dimensions("twonn")
    assert math.isnan(curve[0]) and curve[1] == 2.5 and curve[2] == 1 / 3
    assert json.loads(profile.to_json())["estimates"]["twonn"][0]["dimension"] is None
    assert json.loads(profile.to_json())["subsamples"]["twonn"][0][0] is None


def test_block_ranks_are_the_largest_of_each_block():
    modules = (*MODULES, TargetModule("layer.1.k", 2, "k", 8, 4))
    plan = a_plan(modules=modules, ranks={"layer.0.q": 2, "layer.1.q": 0, "layer.1.k": 3}, alphas={m.name: 32.0 for m in modules})
    assert plan.block_ranks() == {1: 2, 2: 3}


def test_share_and_cost_per_rank_are_plain_arithmetic():
    assert Budget(10, 2, 1000, 48, 96).share == 0.01
    assert MODULES[0].n_params_per_rank == 12


def test_how_long_an_estimate_took_is_no_part_of_its_digest():
    quick, slow = (IdEstimate("twonn", 5.0, 4.0, 6.0, 100, 100, seconds) for seconds in (0.1, 9.9))
    other = IdEstimate("twonn", 5.5, 4.0, 6.0, 100, 100, 0.1)
    assert quick.digest() == slow.digest() != other.digest()
    assert quick != slow


def test_a_choice_from_before_a_field_was_added_loads_and_keeps_its_digest():
    columns = '"text_column": null, "pair_column": null, "label_column": "l"'
    old = f'{{"record": "DataChoice", "dataset": "d", "config": null, "split": null, {columns}}}'
    choice = DataChoice.from_json(old)
    plain = {name: value for name, value in json.loads(old).items() if name != "record"}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert choice.digest() == hashlib.sha256(canonical.encode()).hexdigest()[:16]
    assert dataclasses.replace(choice, label_task="regression").digest() != choice.digest()


@pytest.mark.parametrize(("n_gpus", "asked", "found"), [
    (0, "auto", "cpu"), (2, "auto", "cuda"), (2, "cuda", "cuda"), (2, "cuda:1", "cuda:1"), (2, "cpu", "cpu"),
    (0, "cuda", "sees no GPU here; choose 'cpu' or 'auto'"), (2, "cuda:2", "'cuda:2' does not exist; PyTorch sees 2 GPUs"),
    (2, "tpu", "Unknown device 'tpu'"), (2, "cuda:-1", "Unknown device"), (2, None, "Unknown device None"),
])  # fmt: skip
def test_a_device_is_resolved_or_refused_in_one_sentence(n_gpus, asked, found, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: n_gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_gpus)
    if found.startswith(("cpu", "cuda")):
        assert resolve_device(asked) == found
    else:
        with pytest.raises(InputError, match=re.escape(found)):
            resolve_device(asked)
