"""The run directory: what is written is read back, and what is no run is told apart."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from minivit.errors import MinivitError
from minivit.training.run_directory import EpochRow, environment, new_run_directory, read_metrics, write_metrics

ROWS = [EpochRow(i, 3 * i, 0.1 / i, 1 / 3, 0.5, 2.0, 0.25, 1e-7, 1.5, 10.0) for i in (1, 2)]


def test_metrics_come_back_bit_for_bit(tmp_path):
    write_metrics(tmp_path, ROWS)
    assert read_metrics(tmp_path) == ROWS
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",") == list(EpochRow._fields)


@pytest.mark.parametrize("damage", ["missing", "column", "number"])
def test_damaged_metrics_are_refused(tmp_path, damage):
    write_metrics(tmp_path, ROWS)
    path = tmp_path / "metrics.csv"
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(text.replace("step", "stop", 1) if damage == "column" else text.replace("0.25", "many"))
    why = r"cannot be read \(No such file" if damage == "missing" else "holds no metrics as a run writes them; "
    with pytest.raises(MinivitError, match=f"{why}.*cannot be resumed without its metrics: restore the file"):
        read_metrics(tmp_path)


def test_new_directories_take_the_first_free_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(new_run_directory(None, "shapes")) for _ in range(2)] == ["runs/shapes-1", "runs/shapes-2"]
    assert new_run_directory(tmp_path / "a/b", "shapes").is_dir()


def test_an_empty_directory_may_be_used_and_a_file_may_not(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_run_directory(tmp_path / "empty", "x") == tmp_path / "empty"
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(MinivitError, match="choose another --out"):
            new_run_directory(path, "x")


def test_the_environment_names_versions_and_machine():
    assert all(environment()[name] for name in ("minivit", "python", "numpy", "blas", "system", "cores"))


def test_two_runs_that_begin_at_once_get_a_directory_each(tmp_path, monkeypatch):
    """Both have seen that number 1 is free."""
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_directory(None, "shapes"), range(40)))
    assert len(set(made)) == 40


def test_a_directory_that_is_no_run_is_not_to_be_resumed(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MinivitError, match=r"is there and not empty; choose another --out$"):
        new_run_directory(tmp_path, "x")
    (tmp_path / "config.toml").touch()  # of a run that was stopped in its first epoch
    with pytest.raises(MinivitError, match=r"is there and not empty; choose another --out$"):
        new_run_directory(tmp_path, "x")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/model.safetensors").touch()
    with pytest.raises(MinivitError, match=r"choose another --out, or go on with --resume"):
        new_run_directory(tmp_path, "x")
