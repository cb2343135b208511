"""Mistakes in data and models: refused, or warned of where they may be meant."""

from __future__ import annotations

from mistake import Mistake, of

PICTURES = (
    "source.input.kind=image ; source.input.shape=[8, 8, 3] ; model.uri={folder}/pictures.keras"
)
CLASSES = "source.classes={folder}/"
REGION = "statistics.regions={part: {folder}/"

IN_DATA = (
    of("a pattern that matches nothing", "source.pattern={folder}/none-*", "no file matches"),
    of("a folder as pattern", "source.pattern={folder}", "is a folder"),
    of("Parquet read as TFRecord", "source.format=tfrecord", "set source.format: parquet"),
    of(
        "another file read as Parquet",
        "source.pattern={folder}/names.txt",
        "is source.format 'parquet' right?",
    ),
    of("an empty file", "source.pattern={folder}/empty.parquet", "empty.parquet"),
    of("a file cut short", "source.pattern={folder}/cut.parquet", "cut.parquet"),
    of("a feature misspelt", "source.features.input=valeus", "there is no feature 'valeus'"),
    of("a label misspelt", "source.features.label=lable", "there is no feature 'lable'"),
    of("an id misspelt", "source.features.id=name", "there is no feature 'name'"),
    of(
        "boxes misspelt",
        f"{PICTURES} ; source.features.input=picture ; source.features.boxes=box",
        "source.features.boxes is 'box', which none of the first examples has",
    ),
    of(
        "boxes in pixels",
        f"{PICTURES} ; source.features.input=picture ; source.features.boxes=pixel_boxes",
        "has coordinates from 0 to 100; they are in 0..1",
    ),
    of(
        "boxes with x before y",
        f"{PICTURES} ; source.features.input=picture ; source.features.boxes=swapped_boxes",
        "has ymin above ymax or xmin above xmax",
    ),
    of(
        "masks misspelt",
        f"{PICTURES} ; source.features.input=picture ; source.features.mask=masks",
        "source.features.mask is 'masks', which none of the first examples has",
    ),
    of(
        "masks that are paths",
        f"{PICTURES} ; source.features.input=picture ; source.features.mask=path",
        "the mask (source.features.mask) cannot be decoded",
        0,
    ),
    of(
        "a region's mask that is not there",
        f"{PICTURES} ; source.features.input=picture ; {REGION}none.png}}",
        "/none.png cannot be read as a mask",
    ),
    of(
        "a region's mask that is no picture",
        f"{PICTURES} ; source.features.input=picture ; {REGION}names.txt}}",
        "give a PNG file in which the region is neither black nor transparent",
    ),
    of(
        "a region's mask that is black",
        f"{PICTURES} ; source.features.input=picture ; {REGION}black.png}}",
        "black.png is black or transparent throughout, so nothing is in the region",
    ),
    of(
        "a region's mask that is white",
        f"{PICTURES} ; source.features.input=picture ; {REGION}white.png}}",
        "statistics.regions.part is all that the model is shown",
    ),
    of(
        "a region that is cropped away",
        f"{PICTURES} ; source.features.input=picture ; source.input.crop=0.5 ; "
        "statistics.regions={part: [[0, 0, 0.25, 1]]}",
        "statistics.regions.part lies where source.input.crop and source.input.fit cut the images",
    ),
    of("another shape than the data's", "source.input.shape=[5]", "do not fit model"),
    of("labels as fractions", "source.features.label=fraction", "source.features.label"),
    of("labels as text, without names", "source.features.label=name_of_class", "is not set"),
    of(
        "labels that the names lack",
        f"source.features.label=name_of_class ; {CLASSES}names.txt",
        "is not among the 3 names in source.classes",
    ),
    of("labels below 0", "source.features.label=negative", "numbers from 0 to"),
    of("labels that are all missing", "source.features.label=nothing", "'nothing'"),
    of("several labels each", "source.features.label=values", "source.features.label"),
    of("ids that are fractions", "source.features.id=fraction", "source.features.id"),
    of("names that are not there", f"{CLASSES}none.txt", "source.classes:"),
    of("no names in the file", f"{CLASSES}empty.txt", "is empty"),
    of("names that are no text", f"{CLASSES}good.parquet", "cannot be read as a text file"),
    of("fewer names than outputs", f"{CLASSES}two_names.txt", "2 names", 0),
    of("labels from 1", "source.features.label=from_one", "labels that count from 1", 0),
    of("labels beyond the classes", "source.features.label=beyond", "go up to 7", 0),
    of(
        "the struct, not its bytes",
        f"{PICTURES} ; source.features.input=struct",
        "name one of its fields",
    ),
    of(
        "paths instead of images",
        f"{PICTURES} ; source.features.input=path",
        "none of the first 16 examples",
        0,
    ),
    of(
        "raw pixels as images",
        f"{PICTURES} ; source.features.input=raw",
        "raw pixels are read with source.input.kind: tensor",
        0,
    ),
    of(
        "images as tensors",
        "source.features.input=picture ; source.input.shape=[8, 8, 3] ; "
        "model.uri={folder}/pictures.keras",
        "bytes; [8, 8, 3] of float32 takes 768",
        0,
    ),
    of(
        "bytes of another type",
        "source.features.input=raw ; source.input.shape=[8, 8, 3] ; "
        "model.uri={folder}/pictures.keras",
        "the input has 192 bytes; [8, 8, 3] of float32 takes 768",
        0,
    ),
    of(
        "sizes that differ, not resized",
        f"{PICTURES} ; source.features.input=wide ; source.input.resize=none",
        "source.input.resize is 'none'",
        0,
    ),
    of(
        "fewer pixels allowed than images have",
        f"{PICTURES} ; source.features.input=wide ; limits.max_pixels=10",
        "limits.max_pixels",
        0,
    ),
    of("inputs that are not numbers", "source.features.input=not_finite", "infinity or NaN", 0),
    of("inputs with nulls", "source.features.input=holes", "holds a null among its values"),
    of("a feature that never changes", "source.features.input=constant", "every value of the", 0),
    of("values scaled twice", "source.input.scale=unit", "are 0 to 0.996 already", 0),
    of(
        "means of another library",
        f"{PICTURES} ; source.features.input=picture ; "
        "source.input.scale={mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}",
        "multiply each by 255",
        0,
    ),
    of(
        "means of bytes for values in 0..1",
        "source.input.scale={mean: [120, 1, 1, 1, 1, 1], std: [60, 60, 60, 60, 60, 60]}",
        "divide each by 255",
        0,
    ),
    of("names that are no names", "source.features.id=label", "have 3 different ids", 0),
    of(
        "numbers of another type",
        "source.features.input=integers ; source.input.dtype=float32",
        "as bytes of another type look",
        0,
    ),
    of("more at once than there are", "output.block_size=4", "is computed in vain", 0),
    of("records longer than allowed", "limits.max_record_bytes=4", "limits.max_record_bytes"),
    of("blocks larger than allowed", "limits.max_block_bytes=40", "limits.max_block_bytes", 3),
)

IN_MODELS = (
    of("no such model", "model.uri={folder}/none.keras", "there is no model file"),
    of("a folder that is no model", "model.uri={folder}", "is no SavedModel folder"),
    of("data as the model", "model.uri={folder}/good.parquet", "good.parquet"),
    of("a damaged model", "model.uri={folder}/damaged.keras", "cannot be loaded"),
    of("weights alone", "model.uri={folder}/alone.weights.h5", "alone.weights.h5"),
    of("PyTorch's weights", "model.uri={folder}/model.pt", "PyTorch"),
    of("an ONNX model", "model.uri={folder}/model.onnx", "ONNX"),
    of("a TFLite model", "model.uri={folder}/model.tflite", "model.tflite"),
    of("code in the model", "model.uri={folder}/lambda.keras", "model.allow_unsafe: true"),
    of("a layer that is not there", "model.output_layer=logitz", "has no layer 'logitz'"),
    of("a layer beyond the last", "model.output_layer=9", "output_layer 9 is out of range"),
    of("a model of two inputs", "model.uri={folder}/two_inputs.keras", "has 2 inputs"),
    of("a model of two outputs", "model.uri={folder}/two_outputs.keras", "has 2 outputs"),
    of(
        "a model of another size",
        "source.features.input=five ; source.input.shape=[5]",
        "inputs of shape (5,) do not fit model",
    ),
    of("a class beyond the last", "explain.target={class: 3}", "the model has 3 outputs"),
    of("more than there are", "explain.target={top: 4}", "the model has 3 outputs"),
    of("a model that is random", "model.uri={folder}/random", "draws random numbers"),
    of("a model of its batch", "model.uri={folder}/batch.keras", "other examples of their batch"),
    of(
        "an output of maps",
        f"{PICTURES} ; source.features.input=picture ; model.output_layer=convolved",
        "returns (N, 6, 6, 2)",
    ),
    of("logits of logits", "model.output=logits", "ends in neither softmax nor sigmoid"),
    of("a softmax explained", "model.uri={folder}/softmax.keras", "ends in softmax", 0),
    of("a model that rounds", "model.uri={folder}/rounding.keras", "differentiable way"),
    of("a model of nothing finite", "model.uri={folder}/infinite.keras", "not finite", 0),
    of("a dead model", "model.uri={folder}/dead.keras", "are zero throughout", 0),
    of("a model that is sure and wrong", "model.uri={folder}/sure.keras", "by guessing", 0),
    of("a model for bytes", "model.uri={folder}/for_bytes.keras", "as for values up to 255", 0),
    of("a model for other units", "model.uri={folder}/other_units.keras", "was trained on", 0),
    of("a module that is not there", "explain.operator=no_such:score", "cannot be imported"),
    of("a function that is not there", "explain.operator=json:score", "has no 'score'"),
    of("an operator that is none", "explain.operator=math:pi", "which cannot be called"),
    of(
        "activations of a layer that is not there",
        f"{PICTURES} ; source.features.input=picture ; explain.method=grad_cam ; explain.layer=x",
        "explain.layer: model",
    ),
    of("regression of labels", "explain.operator=regression", "give {class: 0}"),
    of("segmentation of one row", "explain.operator=segmentation", "explain.operator is 'seg"),
    of("a batch of another size", "model.uri={folder}/of_two", "batches of 2 only"),
)

IN_OUTPUTS = (
    Mistake("a file as the atlas", "as it is a file", ("output.path={folder}/names.txt",)),
    Mistake("an atlas below a file", "is a file", ("output.path={folder}/names.txt/atlas",)),
    Mistake(
        "an atlas that is there",
        "holds an atlas already (complete)",
        ("output.path={folder}/atlas",),
        2,
        ("run", "CONFIG"),
    ),
    Mistake(
        "an atlas of other settings",
        "output.codec: the atlas has 'uint8', this run 'float32'",
        ("output.path={folder}/atlas", "output.codec=float32"),
        2,
        ("run", "CONFIG", "--resume"),
    ),
    Mistake(
        "an atlas of other files",
        "the atlas has it, this run does not",
        ("output.path={folder}/atlas", "source.pattern={folder}/good_too.parquet"),
        2,
        ("run", "CONFIG", "--extend"),
    ),
    Mistake(
        "an example that is not there", "the nearest are", (), 2, ("show", "{folder}/atlas", "x")
    ),
)
