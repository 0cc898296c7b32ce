"""What `import minivit` gives and what it costs."""

import configparser
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import minivit

ROOT = Path(__file__).parents[1]
HEAVY = ("matplotlib", "PIL", "tqdm", "safetensors", "cupy", "torch", "scipy", "numba")


def run(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("code", ["import minivit", "from minivit import *", "import minivit.model, minivit.functions"])
def test_import_loads_numpy_and_nothing_heavy(code):
    loaded = run(f"import sys; {code}; print(*sorted(name.split('.')[0] for name in sys.modules))")
    assert "numpy" in loaded
    assert not set(HEAVY) & set(loaded)


def test_import_alone_loads_no_part_of_the_package():
    """Each public name loads its module when first used."""
    assert run("import sys, minivit; print(*[name for name in sys.modules if name.startswith('minivit.')])") == []


def test_a_model_runs_on_numpy_alone():
    """The whole forward and backward pass, without any of the optional libraries."""
    code = (
        "import sys, numpy as np, minivit; config = minivit.variant('micro/4', depth=1);"
        "logits, cache = minivit.vit(minivit.init_params(config), np.zeros((2, 3, 32, 32), np.float32), config);"
        "minivit.vit_backward(logits, cache); print(*sorted(name.split('.')[0] for name in sys.modules))"
    )
    assert not set(HEAVY) & set(run(code))


def test_every_public_name_resolves():
    for name in minivit.__all__:
        assert getattr(minivit, name) is not None
    assert set(minivit.__all__) <= set(dir(minivit))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'minivit' has no attribute 'vitt'"):
        minivit.vitt  # noqa: B018


def test_the_version_is_that_of_the_package_metadata():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert minivit.__version__ == setup["metadata"]["version"]


def test_every_module_says_what_it_is():
    """A reader opens any file and finds its purpose first."""
    for path in (ROOT / "minivit").rglob("*.py"):
        text = path.read_text()
        assert not text or text.startswith('"""'), path


def test_the_folder_that_holds_the_clone_is_no_trap(tmp_path):
    """A folder of the package's name without __init__.py, as a clone has, wins over some editable installs."""
    try:
        importlib.metadata.distribution("minivit")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("minivit is not installed here")
    (tmp_path / "minivit").mkdir()
    code = "import minivit; print(minivit.variant('Ti/16').width)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "192\n", done.stderr
