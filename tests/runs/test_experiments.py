"""An experiment's runs differ in what is compared alone; what came of them is summed up over seeds."""

import dataclasses

import pytest
from made_runs import make_run, plan_of

from gelora.errors import InputError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import RunGroup, describe_method, differences, is_significant, pareto_front, settings_of, summarise, variants

BASE = RunSpec("tiny", DataChoice("rows.jsonl"), None, TrainingConfig(method="head", learning_rate=1e-3), seed=9)


def test_every_method_every_plan_every_seed():
    plans = {"one": plan_of(1), "two": plan_of(2)}
    specs = variants(BASE, seeds=[0, 1], plans=plans, methods=["lora", "adalora", "head"])
    assert [(s.seed, s.training.method, s.plan and max(s.plan.ranks.values())) for s in specs] == [
        (seed, method, r) for seed in (0, 1) for method, r in [("lora", 1), ("lora", 2), ("adalora", 1), ("adalora", 2), ("head", None)]
    ]


def test_runs_of_one_experiment_share_every_other_setting():
    specs = variants(BASE, seeds=[3], plans={"one": plan_of(1)}, methods=["lora", "head", "full"])
    assert set(differences({str(i): spec for i, spec in enumerate(specs)})) == {
        "method", "strategy", "target modules", "ranks by block", "adapter parameters",
    }  # fmt: skip


def test_what_only_lora_has_stays_out_of_the_other_methods():
    training = TrainingConfig(init_lora_weights="gaussian", reallocate_at=(0.5,))
    base = dataclasses.replace(BASE, training=training, plan=plan_of(2))
    lora, adalora, head = variants(base, seeds=[0], plans={"two": plan_of(2)}, methods=["lora", "adalora", "head"])
    assert (lora.training.init_lora_weights, lora.training.reallocate_at) == ("gaussian", (0.5,))
    for other in (adalora, head):
        assert (other.training.init_lora_weights, other.training.reallocate_at) == ("default", ())


def test_the_same_run_asked_for_twice_is_given_once():
    assert len(variants(BASE, seeds=[0, 0], plans={"a": plan_of(2), "b": plan_of(2)}, methods=["lora"])) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seeds": [], "methods": ["head"]}, "at least one seed"),
        ({"seeds": [0], "methods": []}, "one method"),
        ({"seeds": [0], "methods": ["lora"]}, "needs a rank plan"),
        ({"seeds": [0], "methods": ["magic"]}, "Unknown method 'magic'"),
    ],
)
def test_what_is_no_experiment_is_said(options, says):
    with pytest.raises(InputError, match=says):
        variants(BASE, **options)


def test_groups_have_mean_and_sample_deviation_over_seeds():
    runs = [make_run("a", r=1, seed=0, score=0.5), make_run("b", r=1, seed=1, score=0.7), make_run("c", r=4, seed=0, score=0.9)]
    one, four = summarise(runs, "eval_accuracy")
    assert (one.run_ids, one.n_params, one.label) == (("a", "b"), plan_of(1).n_adapter_params, "uniform r = 1")
    assert one.mean == pytest.approx(0.6) and one.spread == pytest.approx(0.1414213562)
    assert four.spread is None


def test_unfinished_runs_and_runs_without_the_metric_are_in_no_group():
    runs = [make_run("a", status="running"), make_run("b", status="failed"), make_run("c", metrics={"loss": 1.0})]
    assert summarise(runs, "eval_accuracy") == []


def test_groups_of_one_method_are_told_apart_by_what_differs():
    runs = [make_run("a", learning_rate=1e-3), make_run("b", learning_rate=1e-4)]
    assert [group.label for group in summarise(runs, "eval_accuracy")] == [
        "uniform r = 2, learning_rate 0.0001", "uniform r = 2, learning_rate 0.001",
    ]  # fmt: skip


def test_groups_of_one_name_and_other_ranks_say_their_ranks():
    """Ranks by one strategy from two samples, say: without their ranks both would be called the same."""
    runs = []
    for run_id, r in (("a", 1), ("b", 2)):
        run = make_run(run_id, r=r)
        spec = dataclasses.replace(run.spec, plan=dataclasses.replace(run.spec.plan, strategy="gradient", target_params=None))
        runs.append(dataclasses.replace(run, spec=spec))
    assert [group.label for group in summarise(runs, "eval_accuracy")] == ["gradient, ranks 1 1 1", "gradient, ranks 2 2 2"]


def test_the_front_holds_what_no_other_beats():
    scores = {1: 0.6, 2: 0.5, 4: 0.8, 8: 0.8}
    groups = summarise([make_run(f"r{r}", r=r, score=score) for r, score in scores.items()], "eval_accuracy")
    assert [group.run_ids for group in pareto_front(groups)] == [("r1",), ("r4",)]
    assert [group.run_ids for group in pareto_front(groups, higher_is_better=False)] == [("r1",), ("r2",)]


def group_of(label, n_params, *values):
    return RunGroup(label, tuple(map(str, values)), values, n_params, "lora", "uniform")


def test_a_tie_on_the_front_is_a_tie():
    """Equal parameters and an equal mean: neither beats the other, whichever comes first, and both beat what is dearer."""
    a, b, dearer, worse = group_of("a", 10, 0.5, 0.7), group_of("b", 10, 0.6, 0.6), group_of("c", 20, 0.6), group_of("d", 10, 0.5)
    for groups in ([a, b, dearer, worse], [worse, dearer, b, a]):
        assert [group.label for group in pareto_front(groups)] == ["a", "b"]
    assert [group.label for group in pareto_front([a, b, dearer, worse], higher_is_better=False)] == ["d"]


def test_a_difference_of_means_is_significant_by_welch_s_interval_and_unknown_for_single_runs():
    """Means 1 and 4, variances 1 and 1, three runs each: t = 3 / sqrt(2/3) = 3.67 over 2.776 at 4 degrees of freedom."""
    low = group_of("low", 1, 0.0, 1.0, 2.0)
    assert is_significant(low, group_of("high", 2, 3.0, 4.0, 5.0)) is True
    assert is_significant(low, group_of("near", 2, 2.2, 3.2, 4.2)) is False  # 2.2 / sqrt(2/3) = 2.69
    assert is_significant(low, group_of("one", 2, 9.0)) is None
    assert is_significant(group_of("still", 1, 1.0, 1.0), group_of("as still", 2, 1.0, 1.0)) is False
    assert is_significant(group_of("still", 1, 1.0, 1.0), group_of("higher", 2, 2.0, 2.0)) is True


def test_methods_in_words():
    def words(method: str, plan, **training: object) -> str:
        return describe_method(dataclasses.replace(BASE, plan=plan, training=TrainingConfig(method=method, **training)))

    assert words("lora", plan_of(4)) == "uniform r = 4"
    assert words("lora", plan_of(4), use_dora=True) == "uniform r = 4, DoRA"
    assert words("adalora", plan_of(1)) == f"AdaLoRA at {plan_of(1).n_adapter_params:,} parameters"
    assert words("bitfit", None) == "BitFit"


def test_settings_name_everything_that_defines_a_run():
    settings = settings_of(dataclasses.replace(BASE, held_out=DataChoice("dev.jsonl")))
    assert settings["model"] == "tiny" and settings["held-out data"] == "dev.jsonl" and settings["seed"] == 9
    assert {field.name for field in dataclasses.fields(TrainingConfig)} <= set(settings)
