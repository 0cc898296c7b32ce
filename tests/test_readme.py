"""The README keeps its promises: its Python runs, its files exist, and CI runs its commands."""

import re
from pathlib import Path

import pytest

from minivit.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^( *)```python\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", [code for _, code in PYTHON])
def test_the_python_in_it_runs(code, capsys):
    import textwrap

    exec(compile(textwrap.dedent(code), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if printed:  # the gradient check, which promises errors near 1e-15
        assert printed.startswith("layer_norm: complex step, float64: right")
        errors = [float(line.split(")")[1].split()[0]) for line in printed.splitlines()[2:]]
        assert len(errors) == 3
        assert max(errors) < 1e-14


def test_there_is_python_to_run():
    assert len(PYTHON) == 3


def test_the_layer_that_it_checks_is_wrong_as_it_says(tmp_path, capsys):
    (code,) = (code for _, code in PYTHON if "my_layers.py" in code)
    (tmp_path / "my_layers.py").write_text(code)
    assert main(["gradcheck", f"{tmp_path}/my_layers.py:rms_norm"]) == 1
    printed = capsys.readouterr().out
    title, _, wrong, right = re.search(r"```\n(rms_norm: .*?)```", README, re.DOTALL)[1].splitlines()
    assert title in printed
    assert wrong in printed
    assert right.split("e-16")[0][:-4] in printed


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_what_it_links_to_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", re.findall(r"`((?:minivit|tests|examples)/[\w/.]*)`", README))
def test_what_it_names_is_there(path):
    assert (ROOT / path).exists() or path.endswith("yours.py")


def test_ci_runs_its_commands():
    script = (ROOT / ".ci/run").read_text()
    for command in (
        'pip install -e ".[test]" && pytest',
        'pip install -e ".[test,software-gpu]" && pytest -m gpu --software-gpu --dist worksteal',
        "pip install -e . && minivit train",
    ):
        assert f"```sh\n{command}\n```" in README
        assert f"'{command}'" in script


def test_its_measured_figures_are_those_of_the_results():
    import csv
    import json

    results = ROOT / "examples/results/cifar10_cpu"
    with (results / "metrics.csv").open() as file:
        accuracies = [f"{100 * float(row['validation_accuracy']):.1f}" for row in csv.DictReader(file)]
    assert " | ".join(accuracies) in README
    accuracy = json.loads((results / "results.json").read_text())["test_accuracy"]
    assert f"**{100 * accuracy:.2f} %**" in README


def test_its_speeds_are_those_that_were_measured():
    import json

    found = json.loads((ROOT / "examples/results/cpu_step/erf.json").read_text())
    for number in ("step_s", "torch_step_s", "torch_compile_step_s", "ratio_eager", "ratio_compile", "floor_s"):
        assert f"{found[number]:.2f}" in README.split("## How fast it is")[1].split("##")[0]
    whole = json.loads((ROOT / "examples/results/cpu_step/erf_all_tokens.json").read_text())
    assert f"all tokens of the last block | | {whole['ratio_eager']:.2f} |" in README
    reference = json.loads((ROOT / "examples/results/cpu_step/reference_tanh.json").read_text())
    assert f"{reference['ratio_eager']:.2f} of" in README
