"""The trained model that is kept beside its results can be used."""

from pathlib import Path

import numpy as np

from minivit import count_params
from minivit.cli.main import main
from minivit.model import named
from minivit.training.run_directory import load_run

RUN = Path(__file__).parents[2] / "examples" / "results" / "cifar10_cpu"


def test_the_model_is_the_one_of_the_table():
    config, params, epoch = load_run(RUN)
    assert epoch == 8
    assert count_params(config.model) == 459_370 == sum(x.size for _, x in named(params))
    assert config.data.data_dir == ""
    assert config.inputs.classes[0] == "airplane"


def test_it_predicts(tmp_path, capsys):
    from PIL import Image

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "noise.png")
    assert main(["predict", str(RUN), str(tmp_path / "noise.png")]) == 0
    assert "%" in capsys.readouterr().out
