"""A run's whole configuration: from a TOML file and flags, fitted to the data, and back to TOML.

    [data]      DataSettings         dataset, data_dir
    [model]     ViTConfig            and `variant`, a name to start from
    [training]  TrainSettings
    [inputs]    written by a run     class names, the mean and deviation the images are normalised by, their fingerprint

Every field has one name wherever it is set: `width = 192` in [model] is `--width 192`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data import Splits, channel_statistics, fingerprint
from minivit.errors import MinivitError, nearest
from minivit.fields import parse, types_of
from minivit.model import ViTConfig, variant
from minivit.training.settings import DataSettings, TrainSettings

SECTIONS: dict[str, type] = {"data": DataSettings, "model": ViTConfig, "training": TrainSettings}
Values = dict[str, Any]  # fields by name: names are unique over the sections


@dataclass(frozen=True)
class Inputs:
    """What the model expects of an image, and what its logits mean."""

    classes: tuple[str, ...]
    mean: tuple[float, ...]  # (C,) in units of [0, 1]
    std: tuple[float, ...]  # (C,)
    images: str = ""  # the training images' fingerprint; "": of a run from before there was one


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run."""

    data: DataSettings
    model: ViTConfig
    training: TrainSettings
    inputs: Inputs


def field_types() -> dict[str, Any]:
    """The type of every field that can be set, by name."""
    types: dict[str, Any] = {"variant": str}
    for section in SECTIONS.values():
        types |= types_of(section)
    return types


def read_values(path: Path) -> Values:
    """The fields that a TOML file sets.

    Raises MinivitError for a file that cannot be read, and for an unknown section or field, with the nearest
    known one.
    """
    return _values(path, _load(path))


def read_run_config(path: Path) -> RunConfig:
    """The configuration that a run wrote. Raises MinivitError if it cannot be read or is incomplete."""
    document = _load(path)
    # Runs from before there was a choice computed all tokens, and drew the last block's masks for them.
    values = {"skip_unread": False} | _values(path, document)
    inputs = document.get("inputs", {})
    try:
        mean, std = (tuple(map(float, inputs[name])) for name in ("mean", "std"))
        facts = Inputs(tuple(inputs["classes"]), mean, std, str(inputs.get("images", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise MinivitError(
            f"{path} has no whole [inputs] section; expected a configuration that a run wrote"
        ) from error
    if not all(0.0 < s < math.inf for s in facts.std) or not all(map(math.isfinite, facts.mean)):
        raise MinivitError(f"{path}: [inputs] has mean {facts.mean} and std {facts.std}; expected numbers, std above 0")
    names = inputs["classes"]
    if not isinstance(names, list) or not all(isinstance(x, str) for x in names) or len(set(names)) < len(names):
        raise MinivitError(f"{path}: [inputs] has the classes {names!r}; expected a list of different names")
    try:
        data, training = section_of(DataSettings, values), section_of(TrainSettings, values)
        model = model_config(values)
    except MinivitError as error:
        raise MinivitError(f"{path}: {error}") from error
    if len(facts.classes) != model.classes or not len(facts.mean) == len(facts.std) == model.channels:
        raise MinivitError(f"{path}: [inputs] and [model] differ in their number of classes or channels")
    return RunConfig(data, model, training, facts)


def fit(values: Values, splits: Splits) -> RunConfig:
    """The whole configuration for these data: their classes, channels and image size go into the model.

    Raises MinivitError for a name that is no field, and if `values` ask for a model of another kind of images.
    """
    for name in values:
        if name not in field_types():
            raise MinivitError(f"{name!r} is no field of a configuration.{nearest(name, field_types())}")
    images, classes = splits.train.images, splits.train.classes
    facts = {"classes": len(classes), "channels": images.shape[1], "image_size": images.shape[2:]}
    for name, fact in facts.items():
        if name in values and values[name] != fact:
            raise MinivitError(
                f"{name} is {values[name]}, but the images have {fact}; leave {name} out, it follows the data"
            )
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise MinivitError(f"the data have several classes of the name {twice[0]!r}; expected one name for each")
    settings: TrainSettings = section_of(TrainSettings, values)
    if settings.crop_padding >= min(images.shape[2:]):
        size = "x".join(map(str, images.shape[2:]))
        raise MinivitError(
            f"crop_padding is {settings.crop_padding}, but the images are {size}, and would be shifted out of sight; "
            "expected a few pixels, such as 4"
        )
    mean, std = channel_statistics(images)
    inputs = Inputs(classes, mean, std, fingerprint(splits.train))
    return RunConfig(section_of(DataSettings, values), model_config(values | facts), settings, inputs)


def require_same_images(config: RunConfig, splits: Splits, run: Path, advice: str) -> None:
    """Raise MinivitError unless the training images are those that `run` began with, with their labels, in order.

    The number of images tells too little: as many others would do as well, and held-out ones could be among them. Of
    runs from before there was a fingerprint, mean and deviation are compared.
    """
    if config.inputs.images:
        same, differs = fingerprint(splits.train) == config.inputs.images, "an image, a label or their order differs"
    else:
        found, known = channel_statistics(splits.train.images), (config.inputs.mean, config.inputs.std)
        same, differs = np.allclose(found, known, rtol=1e-9), "mean or deviation of their channels differ"
    if not same:
        raise MinivitError(f"the training images are not those that {run} began with: {differs}; {advice}")


def section_of(section: type, values: Values) -> Any:
    """The dataclass `section` made of those values that belong to it."""
    return section(**{name: values[name] for name in types_of(section) if name in values})


def model_config(values: Values) -> ViTConfig:
    """The model's configuration: the named variant, if one is given, with the given fields changed."""
    given = {name: values[name] for name in types_of(ViTConfig) if name in values}
    return variant(values["variant"], **given) if "variant" in values else ViTConfig(**given)


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML that `read_run_config` reads back to an equal one.

    Raises MinivitError for text that no file can hold: a folder's name that is not valid UTF-8.
    """
    lines: list[str] = []
    for title, section in zip(
        (*SECTIONS, "inputs"), (config.data, config.model, config.training, config.inputs), strict=True
    ):
        lines += ["", f"[{title}]"] if lines else [f"[{title}]"]
        lines += [f"{name} = {_toml(name, value)}" for name, value in dataclasses.asdict(section).items()]  # type: ignore[call-overload]
    return "\n".join(lines) + "\n"


def _toml(name: str, value: object) -> str:
    """A value in TOML: numbers, booleans, text and flat lists read as in JSON, but for a bare DEL character."""
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MinivitError(f"{name} is {value!r}: expected names in valid UTF-8, so rename the folder") from error
    return text.replace("\x7f", "\\u007f")


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise MinivitError(f"{path} cannot be read ({error.strerror}); expected a configuration in TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise MinivitError(f"{path} is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise MinivitError(f"{path} is no text in UTF-8 (byte {error.start}); save it as such") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists
        raise MinivitError(f"{path} cannot be read ({error}); expected a configuration in TOML") from error


def _values(path: Path, document: dict[str, Any]) -> Values:
    values: Values = {}
    for title, fields in document.items():
        if title == "inputs":
            continue  # facts about a run's data, which are found anew
        if not isinstance(fields, dict):
            one = f"[{title}] is a section: give it a line of its own, in single brackets."
            advice = f" {one}" if title in SECTIONS else _advice(title, "", {})
            raise MinivitError(f"{path}: {title} = {fields!r} stands outside of every section.{advice}")
        if title not in SECTIONS:
            raise MinivitError(
                f"{path}: [{title}] is no section; expected {', '.join(f'[{name}]' for name in SECTIONS)}."
                f"{nearest(title, SECTIONS)}"
            )
        known = types_of(SECTIONS[title]) | ({"variant": str} if title == "model" else {})
        for name, value in fields.items():
            if name not in known:
                raise MinivitError(f"{path}: [{title}] has no field {name!r}.{_advice(name, title, known)}")
            try:
                values[name] = parse(name, known[name], value)
            except MinivitError as error:
                raise MinivitError(f"{path}: {error}") from error
            if isinstance(value, str) and known[name] in (int, float, bool):
                raise MinivitError(f"{path}: {name} is the text {value!r}; write it without quotes")
    return values


def _advice(name: str, title: str, known: dict[str, Any]) -> str:
    for other, section in SECTIONS.items():
        if other != title and name in types_of(section):
            return f" It belongs in [{other}]."
    if not known:
        return f" Expected {', '.join(f'[{section}]' for section in SECTIONS)}."
    return nearest(name, known) or f" It has {', '.join(known)}."
