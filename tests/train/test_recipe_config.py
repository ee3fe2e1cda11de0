"""The configuration: read, checked, overridden, and compared."""

from __future__ import annotations

import dataclasses

import pytest
from typer.testing import CliRunner

from gar_video.train.recipe import cli, config
from gar_video.train.recipe.errors import TrainingError

GOOD = {"model": "nano", "output": "run", "data": [{"kind": "rendered"}]}


def test_defaults_are_those_of_the_published_recipe():
    made = config.from_dict(GOOD)
    assert (made.learning_rate, made.weight_decay, made.grad_norm, made.warmup, made.schedule) == (
        1e-5, 0.0, 1.0, 0.03, "cosine",
    )  # fmt: skip
    assert (made.method, made.parts) == ("full", ("all",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"lerning_rate": 1}, "'lerning_rate'.*did you mean 'learning_rate'", id="unknown"
        ),
        pytest.param({"lora": {"rnak": 1}}, "'rnak' in lora.*'rank'", id="unknown inside"),
        pytest.param({"data": [{"kind": "rendred"}]}, "did you mean 'rendered'", id="kind"),
        pytest.param({"data": [{"kind": "jsonl"}]}, "lacks its path", id="no path"),
        pytest.param({"data": [{"kindd": "jsonl"}]}, "unknown field 'kindd'", id="unknown in data"),
        pytest.param({"data": []}, "data is empty", id="no data"),
        pytest.param({"parts": ["langauge_model"]}, "did you mean 'language_model'", id="part"),
        pytest.param({"steps": "many"}, "steps is 'many'; expected a whole number", id="text"),
        pytest.param({"steps": 0}, "steps is 0; expected 1 or more", id="too low"),
        pytest.param({"steps": True}, "expected a whole number", id="bool for int"),
        pytest.param({"checkpointing": 1}, "expected true or false", id="int for bool"),
        pytest.param({"learning_rate": "x"}, "expected a number", id="no number"),
        pytest.param({"betas": [0.9]}, "expected two numbers", id="betas"),
        pytest.param({"data": [{"kind": "rendered", "weight": 0}]}, "weight 0", id="weights"),
        pytest.param({"lora": 3}, "lora is 3; expected fields and values", id="no section"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, words):
    with pytest.raises(TrainingError, match=words):
        config.from_dict({**GOOD, **change})


@pytest.mark.parametrize("name", ["model", "output", "data"])
def test_missing_fields_name_the_nearest_given(name):
    given = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(TrainingError, match=f"lacks the field '{name}'"):
        config.from_dict(given)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("model: [", "no valid YAML", id="cut short"),
        pytest.param("- a\n- b", "holds list", id="list"),
        pytest.param("!!python/object/apply:os.system ['true']", "no valid YAML", id="code"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=words):
        config.load(path)
    with pytest.raises(TrainingError, match="no configuration file"):
        config.load(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("lora.rank", "8", lambda c: c.lora.rank == 8),
        ("data.0.weight", "2.5", lambda c: c.data[0].weight == 2.5),
        ("data.0.frames", "[2, 4]", lambda c: c.data[0].frames == (2, 4)),
        ("learning_rate", "1e-4", lambda c: c.learning_rate == 1e-4),
        ("parts", "[vision, projector]", lambda c: c.parts == ("vision", "projector")),
        ("tensorboard", "true", lambda c: c.tensorboard),
    ],
)
def test_any_field_can_be_set(name, value, read):
    assert read(config.from_dict(GOOD, {name: value}))


@pytest.mark.parametrize("name", ["data.3.weight", "steps.more", "lora.rnak"])
def test_setting_what_is_not_there_is_refused(name):
    with pytest.raises(TrainingError):
        config.from_dict({**GOOD, "steps": 5}, {name: "1"})


def test_differences_leave_out_what_the_weights_do_not_depend_on():
    made = config.from_dict(GOOD)
    other = dataclasses.replace(made, log_every=3, keep=9, workers=2, output="elsewhere")
    assert other.differences(made.to_dict()) == []
    other = config.from_dict(GOOD, {"lora.rank": 4, "data.0.weight": 3})
    assert sorted(other.differences(made.to_dict())) == [
        "data.0.weight was 1.0 and is 3.0",
        "lora.rank was 16 and is 4",
    ]


def test_a_configuration_survives_its_own_yaml(tmp_path):
    import yaml

    made = config.from_dict(GOOD, {"lora.rank": 4, "betas": "[0.8, 0.9]"})
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(made.to_dict()))
    assert config.load(path) == made


# ---------------------------------------------------------------- the command line


def run(monkeypatch, *arguments):
    """Run the command with training replaced; returns what it would have trained."""
    seen = {}

    def fake(made, **more):
        from gar_video.train.recipe.loop import Finished

        seen.update(config=made, **more)
        return Finished(1, None, None, None, 0, 0)

    monkeypatch.setattr("gar_video.train.recipe.loop.train", fake)
    result = CliRunner().invoke(cli.app, list(arguments))
    return seen, result


def test_every_field_is_an_option(monkeypatch):
    spelled = set()
    for spec in config.option_specs():
        value = {"str": "x", "int": "3", "float": "0.5", "bool": None}[spec.kind.__name__]
        fixed = {
            "method": "lora", "parts": "vision,projector", "schedule": "constant", "device": "cpu",
            "loss_per": "answer", "precision": "float32", "betas": "0.1,0.2", "lora.whole": "vision",
            "optimizer": "muon", "slow": "vision",
        }  # fmt: skip
        spelled.add(spec.flag)
        flags = [spec.flag] if value is None else [spec.flag, fixed.get(spec.dotted, value)]
        base = ["--model", "m", "--output", "o", "--set", "data=[{kind: rendered}]"]
        seen, result = run(monkeypatch, *base, *flags)
        assert result.exit_code == 0, (spec.flag, result.output, result.exception)
        made = seen["config"]
        for step in spec.dotted.split("."):
            made = getattr(made, step)
        if spec.dotted not in ("model", "output", "plot", "lora.merge", "device"):
            assert made != spec.default, spec.flag
    names = {f.name for f in dataclasses.fields(config.TrainConfig)} - {"data", "lora"}
    assert {"--" + name.replace("_", "-") for name in names} <= spelled


def test_options_win_over_the_file(monkeypatch, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: nano\noutput: run\nsteps: 5\ndata: [{kind: rendered}]\n")
    seen, result = run(
        monkeypatch,
        str(path),
        "--steps",
        "7",
        "--set",
        "data.0.level=full",
        "--resume",
        "--no-plot",
    )
    assert result.exit_code == 0, result.output
    made = seen["config"]
    assert (made.steps, made.data[0].level, made.plot, seen["resume"]) == (7, "full", False, True)


@pytest.mark.parametrize(
    "arguments",
    [["--set", "nothing"], ["--set", "stepz=3"], ["gone.yaml"]],
    ids=["no value", "unknown field", "no file"],
)
def test_mistakes_are_errors_of_one_line(monkeypatch, arguments):
    _, result = run(monkeypatch, *arguments)
    assert isinstance(result.exception, TrainingError)
    assert "\n" not in str(result.exception)
