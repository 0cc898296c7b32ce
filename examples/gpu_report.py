"""Everything that is to be measured on a GPU, in one command that needs no network:

    PYTHONPATH=. python examples/gpu_report.py --data-dir CIFAR10 --out report.json

The gpu tests; a training step against PyTorch, eager and compiled, in bfloat16 and TF32, for two models and three
batch sizes, the largest first; each fused function alone; how busy the GPU is; a training on CIFAR-10, whose run
directory lies beside the report. Steps against PyTorch are without dropout, the training is with it. Ratios are below
1 where minivit is faster. What could not be measured is in the report with its error, and after each measurement the
report is written: a time limit costs the last. --only tests,bench,pieces,busy,train leaves the rest out.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"384x7": (384, 7, 6), "192x6": (192, 6, 3)}  # width, depth, heads; patch 4 on 32x32, class token
BATCHES = (1024, 512, 128)
PRECISIONS = ("bfloat16", "tf32")
GPU_TESTS = (
    "tests/ops/cuda",
    "tests/training",
    "tests/bench",
    "tests/cli",
    "tests/data",
    "tests/gradcheck",
    "tests/test_doctor.py",
)
WAYS = (("off", False), ("auto", False), ("off", True))  # of a step: as a CUDA graph, and with all tokens
PARTS = ("tests", "bench", "pieces", "busy", "train")
_LIMIT_S = 3600  # of the tests and of a measurement: what hangs costs no other
_KEPT = 20_000  # characters of what was said, where something failed


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for; ends with the exit code 2 where it is not known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_report.json"), help="default: %(default)s")
    parser.add_argument("--data-dir", help="CIFAR-10; without it nothing is trained")
    parser.add_argument("--epochs", type=int, default=200, help="of the training; default: %(default)s")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of steps; default: %(default)s")
    parser.add_argument("--models", default=",".join(MODELS), help="of bench; default: %(default)s")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="of bench; default: %(default)s")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="default: %(default)s")
    options = parser.parse_args(arguments)
    for flag, known in (("only", PARTS), ("models", MODELS), ("precisions", PRECISIONS)):
        if unknown := [name for name in getattr(options, flag).split(",") if name not in known]:
            parser.error(f"--{flag} {unknown[0]} is not known; expected some of {','.join(known)}")
    if not all(batch.isdecimal() for batch in options.batches.split(",")):
        parser.error(f"--batches {options.batches} are no numbers; expected such as 128,512,1024")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, write the JSON."""
    options = options_of(arguments)
    parts, models, precisions = (x.split(",") for x in (options.only, options.models, options.precisions))
    report: dict[str, Any] = {"command": " ".join(["examples/gpu_report.py", *(arguments or sys.argv[1:])])}
    report |= {"date": datetime.date.today().isoformat(), "machine": _or_its_error(machine)}
    report["tf32_product"] = _or_its_error(tf32_product)
    for part, name, found in _measured(parts, models, list(map(int, options.batches.split(","))), precisions, options):
        if part == "bench":
            report.setdefault(part, []).append(found)
        elif name:
            report.setdefault(part, {})[name] = found
        else:
            report[part] = found
        # After each, so that a time limit costs only what was not measured yet.
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))


def _measured(
    parts: list[str], models: list[str], batches: list[int], precisions: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(part, what of it, result), one after another."""
    if "tests" in parts:
        yield "tests", "", _or_its_error(run_tests)
    if "bench" in parts:
        for model, batch, precision in itertools.product(models, batches, precisions):
            for graph, all_tokens in WAYS:
                row = {"model": model, "batch": batch, "precision": precision, "graph": graph, "all_tokens": all_tokens}
                # Compiling takes minutes: once for each size, and against each of our ways for the largest.
                compiled = (graph, all_tokens) == WAYS[0] or batch == max(batches)
                yield "bench", "", row | _or_its_error(bench, **row, rounds=options.rounds, compiled=compiled)
    if "pieces" in parts:
        yield from (("pieces", precision, _or_its_error(pieces, precision)) for precision in precisions)
    if "busy" in parts:
        yield from (("busy", precision, _or_its_error(busy, precision)) for precision in precisions)
    if "train" in parts and options.data_dir:
        run = options.out.with_name(f"{options.out.stem}_run")
        yield "train", "", _or_its_error(train, options.data_dir, options.epochs, run)


def _or_its_error(measure: Callable[..., dict[str, Any]], *given: Any, **named: Any) -> dict[str, Any]:
    """What `measure` finds, or what stopped it: the rest is measured all the same."""
    try:
        return measure(*given, **named)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def machine() -> dict[str, str]:
    """What `minivit doctor` finds: versions, hardware, a checked result."""
    from minivit.doctor import findings

    return {finding.what: finding.found for finding in findings()}


def output_of(words: list[str], limit: float | None = _LIMIT_S) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python WORDS`, run in the project's folder for at most `limit` seconds."""
    command = [sys.executable, *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as error:
        said = [x.decode(errors="replace") if isinstance(x, bytes) else x or "" for x in (error.stdout, error.stderr)]
        raise TimeoutError(f"stopped after {limit} s, having said: {''.join(said).strip()[-2000:]}") from error
    return done.returncode, done.stdout, done.stderr


def tf32_product(size: int = 512) -> dict[str, float]:
    """The relative error of one product in TF32: what to expect of all else in it.

    Where cuBLAS rounds the factors to 10 bits it is 2.9e-4, where it cuts them off 7.7e-4.
    """
    import cupy
    import numpy as np

    from minivit.ops.cuda.products import product

    a, b = (np.random.default_rng(seed).standard_normal((size, size), np.float32) for seed in range(2))
    exact = a.astype(np.float64) @ b
    found = product(cupy.asarray(a), cupy.asarray(b)).get()
    return {"relative_error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact))}


def run_tests(marked: str = "gpu", *more: str) -> dict[str, Any]:
    """The tests with a mark: how many passed, failed, were skipped. Plain pytest does, whatever else is installed."""
    start = time.perf_counter()
    plain = "addopts=-q --strict-markers --import-mode=importlib"
    code, out, error = output_of(["-m", "pytest", "-o", plain, "-m", marked, *(more or GPU_TESTS)])
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", out)}
    failures = re.findall(r"^(?:FAILED|ERROR) (.*)$", out, re.MULTILINE)
    found = {"code": code, **counts, "failures": failures, "seconds": round(time.perf_counter() - start, 1)}
    return found | ({"said": (out + error)[-_KEPT:]} if code else {})


def config_of(model: str, folder: str) -> Path:
    """A configuration file of the model, in a folder."""
    width, depth, heads = MODELS[model]
    config = Path(folder) / "model.toml"
    config.write_text(f"[model]\nwidth = {width}\ndepth = {depth}\nheads = {heads}\n", encoding="utf-8")
    return config


def bench(
    model: str,
    batch: int,
    precision: str,
    rounds: int,
    device: str = "cuda",
    graph: str = "off",
    all_tokens: bool = False,
    compiled: bool = True,
) -> dict[str, Any]:
    """`minivit bench` against PyTorch, in a process of its own; the ratios' names end in the precision.

    PyTorch's model computes all tokens of the last block; with all_tokens, so does minivit.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "minivit", "bench", "--config", str(config_of(model, folder)), "--device", device]
        words += ["--batch-size", str(batch), "--precision", precision, "--rounds", str(rounds), "--graph", graph]
        words += ["--against", "torch", "--json", *["--all-tokens"] * all_tokens]
        _, out, error = output_of(words + ["--compile"] * compiled)  # what failed alone is told in the JSON
    if not out:
        return {"error": error.strip()[-2000:]}
    measured = json.loads(out)
    if "not_recorded" in measured and error:
        measured["said"] = error.strip()[-2000:]  # why it could not be, perhaps
    return {f"{k}_{precision}" if k.startswith("ratio_") else k: v for k, v in measured.items() if k != "model"}


def pieces(precision: str, model: str = "384x7", batch: int = 1024) -> dict[str, Any]:
    """`minivit bench --pieces`: the time of each fused function alone."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "minivit", "bench", "--config", str(config_of(model, folder)), "--device", "cuda", "--pieces"]
        code, out, error = output_of([*words, "--batch-size", str(batch), "--precision", precision, "--json"])
    return {"error": error.strip()[-2000:]} if code else json.loads(out)["pieces"]


def busy(precision: str, model: str = "384x7", batch: int = 1024, seconds: float = 10.0) -> dict[str, Any]:
    """Share of the time in which the GPU computes while steps are queued, as nvidia-smi samples it (percent)."""
    from minivit.bench.ours import ours
    from minivit.bench.workload import Workload
    from minivit.model import ViTConfig
    from minivit.training.settings import TrainSettings

    width, depth, heads = MODELS[model]
    config = ViTConfig(width=width, depth=depth, heads=heads)
    side = ours(Workload(config, batch, TrainSettings(precision=precision), "cuda"))  # type: ignore[arg-type]
    for _ in range(3):
        side.step()
    words = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=500"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sampler:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            for _ in range(10):
                side.queue()
            side.step()
            steps += 11
        elapsed = time.perf_counter() - start
        sampler.terminate()
        samples = [int(line) for line in (sampler.stdout or ()) if line.strip().isdigit()]
    inner = samples[2:-2] or samples  # the first and the last reach beyond the steps
    return {"percent": statistics.median(inner), "samples": samples, "step_s": elapsed / steps}


def train(data_dir: str, epochs: int, run: Path, *more: str) -> dict[str, Any]:
    """examples/cifar10_gpu.toml from the start, into `run`: seconds of the whole command, and the last epoch."""
    words = ["-m", "minivit", "train", "--config", "examples/cifar10_gpu.toml", "--device", "cuda"]
    words += ["--data-dir", str(Path(data_dir).resolve()), "--epochs", str(epochs), "--out", str(run.resolve()), *more]
    start = time.perf_counter()
    code, out, error = output_of(words, limit=None)
    found = {"epochs": epochs, "seconds": round(time.perf_counter() - start, 1), "run": str(run)}
    if code:
        return found | {"error": error.strip()[-2000:]}
    metrics = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    last = dict(zip(metrics[0].split(","), metrics[-1].split(","), strict=True))
    return found | {"last_epoch": last, "said": out.strip().splitlines()[-3:]}


def table(report: dict[str, Any]) -> str:
    """The report in short."""
    lines = [f"{what}: {found}" for what, found in report["machine"].items()]
    if "tf32_product" in report:
        lines.append(f"a product in TF32: {report['tf32_product']}")
    if "tests" in report:
        counts = {name: x for name, x in report["tests"].items() if name != "said"}
        lines.append(f"tests: {counts}")
    for row in report.get("bench", []):
        ratios = {name: f"{x:.2f}" for name, x in row.items() if name.startswith("ratio_")}
        step = f"{1000 * row['step_s']:.1f} ms" if "step_s" in row else row.get("error", "")[-200:]
        step += f", queued in {1000 * row['queue_s']:.1f} ms" if "queue_s" in row else ""
        lines.append(
            f"{row['model']} batch {row['batch']:5} {row['precision']:9} graph {row['graph']:4} "
            f"{'all tokens' if row['all_tokens'] else 'what is read'} {step}  {ratios}"
        )
        if "not_recorded" in row:
            lines.append(f"    not recorded as a graph: {row['not_recorded'][-200:]}")
        if "compile_error" in row:
            lines.append(f"    torch.compile: {row['compile_error'][:200]}")
    for precision, found in report.get("pieces", {}).items():
        if "error" in found:
            lines.append(f"pieces, {precision}: {found['error'][-200:]}")
            continue
        lines += [
            f"{precision:9} {name:30} {1e6 * x['seconds']:8.1f} us x {x['times']:2.0f}  {x['gb_per_s']:6.0f} GB/s"
            for name, x in found.items()
        ]
    for name, found in report.get("busy", {}).items():
        lines.append(f"busy, {name}: {found['error'][-200:] if 'error' in found else str(found['percent']) + ' %'}")
    if "train" in report:
        lines.append(f"train: {report['train']}")
    return "\n".join(lines)


def command() -> int:
    """`main` where there is a GPU; else one line, and the exit code 2."""
    from minivit.arrays import choose_device
    from minivit.errors import MinivitError

    options_of()  # --help, and words that are not known, need no GPU
    try:
        choose_device("cuda")
    except MinivitError as error:
        print(f"gpu_report: {error}", file=sys.stderr)
        return 2
    main()
    return 0


if __name__ == "__main__":
    sys.exit(command())
