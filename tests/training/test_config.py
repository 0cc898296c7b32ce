"""Configurations: from a file and flags, fitted to data, and back to TOML."""

import dataclasses

import numpy as np
import pytest

from minivit.data import Dataset, Splits
from minivit.errors import MinivitError
from minivit.fields import parse
from minivit.model import ViTConfig
from minivit.training.config import fit, read_run_config, read_values, require_same_images, to_toml
from minivit.training.settings import TrainSettings


def splits(classes=("a", 'b "quoted" ü'), size=(8, 12), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (6, 3, *size), dtype=np.uint8)
    data = Dataset(images, np.arange(6) % len(classes), classes)
    return Splits(data, data, data, ())


def written(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return path


def test_a_run_configuration_survives_toml(tmp_path):
    config = fit({"width": 24, "heads": 4, "flip": False, "dataset": "folder", "learning_rate": 3e-5}, splits())
    assert read_run_config(written(tmp_path, to_toml(config))) == config
    assert config.model.image_size == (8, 12)
    assert config.model.classes == 2
    assert config.inputs.mean == pytest.approx(splits().train.images.mean((0, 2, 3)) / 255)


def test_images_are_normalised_by_those_that_it_learns_from():
    train, *others = (splits(seed=seed).train for seed in range(3))
    inputs = fit({}, Splits(train, *others, ())).inputs
    assert inputs.mean == pytest.approx(train.images.mean((0, 2, 3)) / 255)
    assert inputs.std == pytest.approx(train.images.std((0, 2, 3)) / 255)
    for other in others:
        assert inputs.mean != pytest.approx(other.images.mean((0, 2, 3)) / 255)


@pytest.mark.parametrize("steps", [(1,), (1, -1)], ids=["one pixel by one step", "none but for the deviation"])
@pytest.mark.parametrize("channel", [0, 2])
def test_other_images_are_noticed_however_alike(tmp_path, steps, channel):
    before = splits(size=(32, 32))
    config = fit({}, before)
    require_same_images(config, before, tmp_path, "advice")
    images = before.train.images.copy()
    for value, step in zip((200, 50), steps, strict=False):
        image, row, column = np.argwhere(images[:, channel] == value)[0]
        images[image, channel, row, column] = value + step
    assert (images != before.train.images).sum() == len(steps)
    others = before._replace(train=before.train._replace(images=images))
    old = dataclasses.replace(config, inputs=dataclasses.replace(config.inputs, images=""))  # without a fingerprint
    require_same_images(old, before, tmp_path, "advice")
    for run, differs in ((config, "an image, a label or their order differs"), (old, "their channels differ")):
        with pytest.raises(MinivitError, match=f"the training images are not those that .* {differs}; advice"):
            require_same_images(run, others, tmp_path, "advice")


@pytest.mark.parametrize(("name", "meant"), [("widht", "'width'"), ("epoch", "'epochs'"), ("lr", "'learning_rate'")])
def test_a_misspelt_field_is_refused_in_python_too(name, meant):
    with pytest.raises(MinivitError, match=f"'{name}' is no field of a configuration. Did you mean {meant}"):
        fit({name: 1}, splits())


def test_images_are_not_shifted_out_of_sight():
    fit({"crop_padding": 7}, splits())
    with pytest.raises(MinivitError, match="crop_padding is 8, but the images are 8x12, and would be shifted out of"):
        fit({"crop_padding": 8}, splits())


def test_classes_of_one_name_are_refused_before_anything_is_trained():
    with pytest.raises(MinivitError, match="several classes of the name 'cat'; expected one name for each"):
        fit({}, splits(classes=("cat", "dog", "cat")))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"[model]\n\xff\xfe")
    with pytest.raises(MinivitError, match=r"c.toml is no text in UTF-8 \(byte 8\); save it as such"):
        read_values(tmp_path / "c.toml")


def test_a_run_from_before_there_was_a_choice_computed_all_tokens(tmp_path):
    path = written(tmp_path, to_toml(fit({}, splits())))
    assert read_run_config(path).training.skip_unread
    text = path.read_text()
    assert "skip_unread = true\n" in text
    assert not read_run_config(written(tmp_path, text.replace("skip_unread = true\n", ""))).training.skip_unread


@pytest.mark.parametrize(
    "text", ["[training]\nseed = " + 5001 * "1", 2000 * "[", "[training]\nlearning_rate = " + 400 * "1"]
)
def test_numbers_without_end_are_refused(tmp_path, text):
    with pytest.raises(MinivitError, match=r"c\.toml"):
        read_values(written(tmp_path, text))


def test_an_integer_that_nothing_can_have_is_refused():
    with pytest.raises(MinivitError, match=r"epochs is '10+'; expected an integer"):
        parse("epochs", int, "1" + 330 * "0")
    for kind, value in ((int, 16**5000), (float, 16**5000), (tuple[int, int], [16**5000, 4])):
        with pytest.raises(MinivitError, match="x is a number of thousands of digits; expected"):
            parse("x", kind, value)
    with pytest.raises(MinivitError, match=r"x is \[10+, 4\]; expected one integer or two"):
        parse("x", tuple[int, int], [10**26, 4])


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_text("[training]\nepochs = 3\n", encoding="utf-8-sig")
    assert read_values(path) == {"epochs": 3}


def test_names_of_any_characters_survive_toml(tmp_path):
    config = fit({}, splits(classes=("new\nline", "back\\slash", "delete\x7f")))
    assert read_run_config(written(tmp_path, to_toml(config))) == config


def test_a_name_that_is_not_text_is_refused():
    """What the file system holds as the byte FF comes as half a surrogate pair, which no TOML file can hold."""
    with pytest.raises(MinivitError, match=r"classes is .*udcff.*: expected names in valid UTF-8"):
        to_toml(fit({}, splits(classes=("a", "\udcff"))))


def test_a_run_configuration_can_be_used_as_a_config_file(tmp_path):
    config = fit({"width": 24, "heads": 4}, splits())
    assert fit(read_values(written(tmp_path, to_toml(config))), splits()) == config


def test_a_variant_gives_sizes_and_fields_change_them(tmp_path):
    values = read_values(written(tmp_path, '[model]\nvariant = "mini/4"\ndepth = 2\n'))
    model = fit(values, splits()).model
    assert (model.width, model.depth, model.heads, model.mlp_width) == (192, 2, 3, 768)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nwidht = 3\n", ["widht", "Did you mean 'width'?"]),
        ("[training]\nwidth = 3\n", ["'width'", "belongs in [model]"]),
        ("[modle]\nwidth = 3\n", ["[modle]", "Did you mean 'model'?"]),
        ("width = 3\n", ["width = 3", "It belongs in [model]."]),
        ("widht = 3\n", ["widht = 3", "[data], [model], [training]"]),
        ("training = 3\n", ["training = 3", "give it a line of its own"]),
        ('[training]\nepochs = "many"\n', ["epochs is 'many'; expected an integer"]),
        ('[training]\nflip = "yes"\n', ["flip is 'yes'; expected true or false"]),
        ('[training]\nflip = "false"\n', ["flip is the text 'false'; write it without quotes"]),
        ("[[training]]\nepochs = 3\n", ["a line of its own, in single brackets"]),
        ('[training]\nepochs = "3"\n', ["epochs is the text '3'; write it without quotes"]),
        ("[training]\nepochs = 1.5\n", ["epochs", "1.5", "an integer"]),
        ("[training]\nflip = 1\n", ["flip", "true or false"]),
        ('[training]\noptimizer = "adam"\n', ["'adam'", "'adamw', 'sgd'"]),
        ("[model]\nimage_size = [1, 2, 3]\n", ["image_size", "32x48"]),
        ("[model\n", ["not valid TOML"]),
        ("[training]\nepochs = 1.0\n", ["c.toml: epochs is 1.0; expected an integer"]),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, text, words):
    with pytest.raises(MinivitError) as error:
        read_values(written(tmp_path, text))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("name", "value"), [("classes", 7), ("channels", 1), ("image_size", (16, 16))])
def test_a_model_for_other_images_is_refused(name, value):
    with pytest.raises(MinivitError, match=f"{name} is .* leave {name} out"):
        fit({name: value}, splits())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("accumulate", 0),
        ("accumulate", 129),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("beta1", 1.0),
        ("label_smoothing", 1.0),
        ("clip", -1.0),
        ("seed", -1),
        ("seed", 2**64),
        ("crop_padding", -1),
        ("final_learning_rate", 0.5),
        ("adam_eps", 1e-46),
    ],
)
def test_an_impossible_setting_is_refused_by_name_and_value(field, value):
    with pytest.raises(MinivitError, match=field) as error:
        TrainSettings(**{field: value})
    assert str(value) in str(error.value) or "2**64" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[model]\nwidth = 96\n",
        "[inputs]\nclasses = 3\nmean = []\nstd = []\n",
        '[inputs]\nclasses = ["a"]\nmean = [0.5]\nstd = [0.2]\n',
    ],
)
def test_a_run_configuration_without_whole_inputs_is_refused(tmp_path, text):
    with pytest.raises(MinivitError, match="inputs"):
        read_run_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("field", "value"),
    [("optimizer", "adam"), ("epochs", 2.5), ("precision", "fp16"), ("flip", "maybe"), ("batch_size", True)],
)
def test_a_setting_of_another_kind_is_refused_in_python_too(field, value):
    with pytest.raises(MinivitError, match=f"{field} is {value!r}; expected"):
        TrainSettings(**{field: value})


def test_numpy_s_numbers_are_numbers():
    settings = TrainSettings(epochs=np.int64(3), learning_rate=np.float32(0.5))
    assert (settings.epochs, settings.learning_rate) == (3, 0.5)
    assert type(settings.epochs) is int
    config = ViTConfig(depth=np.int64(2), image_size=(np.int32(8), np.int64(8)), patch_size=np.int64(4))
    assert config == ViTConfig(depth=2, image_size=8, patch_size=4)
    numbers = (config.depth, *config.image_size, *config.patch_size)
    assert {type(n) for n in numbers} == {int}
    to_toml(fit({"width": np.int64(24), "heads": np.int32(4)}, splits()))


@pytest.mark.parametrize("text", ["32x48xabc", "32x48x1", "x", "32x", "", "3.5"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(MinivitError, match=r"image_size is .*; expected one integer or two"):
        parse("image_size", tuple[int, int], text)


@pytest.mark.parametrize("std", ["0.0", "nan", "-1.0"])
def test_inputs_that_nothing_can_be_divided_by_are_refused(tmp_path, std):
    config = fit({}, splits())
    path = tmp_path / "config.toml"
    text = to_toml(config)
    (line,) = [line for line in text.splitlines() if line.startswith("std = ")]
    path.write_text(text.replace(line, f"std = [{', '.join([std] * config.model.channels)}]"))
    with pytest.raises(MinivitError, match=r"\[inputs\] has mean .* and std .*; expected numbers, std above 0"):
        read_run_config(path)


@pytest.mark.parametrize(
    ("line", "other"), [("mean = ", "mean = [0.5]"), ("std = ", "std = [0.2]"), ("channels = ", "channels = 1")]
)
def test_inputs_of_another_number_of_channels_are_refused(tmp_path, line, other):
    """NumPy would give one number to all channels."""
    text = to_toml(fit({}, splits()))
    (whole,) = [x for x in text.splitlines() if x.startswith(line)]
    with pytest.raises(MinivitError, match=r"\[inputs\] and \[model\] differ in their number of classes or channels"):
        read_run_config(written(tmp_path, text.replace(whole, other)))


@pytest.mark.parametrize("classes", ['[1, "b"]', '["b", "b"]', '[["a"], ["b"]]', "[{a = 1}, {a = 2}]", '"ab"'])
def test_classes_without_a_name_of_their_own_are_refused(tmp_path, classes):
    config = fit({}, splits())
    (line,) = [line for line in to_toml(config).splitlines() if line.startswith("classes = [")]
    path = written(tmp_path, to_toml(config).replace(line, f"classes = {classes}"))
    with pytest.raises(MinivitError, match=r"\[inputs\] has the classes .*; expected a list of different names"):
        read_run_config(path)


@pytest.mark.parametrize(("line", "other"), [("depth = 4", "depth = 0"), ("clip = 1.0", "clip = -1.0")])
def test_an_impossible_setting_of_a_run_is_refused_with_the_file(tmp_path, line, other):
    text = to_toml(fit({}, splits()))
    assert line in text
    path = written(tmp_path, text.replace(line, other))
    with pytest.raises(MinivitError) as error:
        read_run_config(path)
    assert str(error.value).startswith(f"{path}: {other.replace(' =', ' is')}")
