"""Names that other tools have for our commands and options; errors answer with ours."""

from __future__ import annotations

import click

_COMMANDS = {
    "adapt": ("train", "finetune", "fine-tune", "fine_tune", "fit", "tune", "run"),
    "evaluate": ("eval", "test", "val", "validate", "score"),
    "predict": ("classify", "infer", "inference", "generate"),
    "features": ("embed", "embeddings", "encode", "extract"),
    "inspect": ("info", "show", "summary", "describe"),
    "models": ("list", "ls", "search", "zoo"),
    "plugins": ("plugin", "extensions"),
    "pull": ("download", "fetch", "get", "install"),
    "push": ("upload", "publish", "share"),
}
_OPTIONS = {
    "--out": ("--output", "--output-dir", "--output_dir", "--save", "--save-dir"),
    "--lr": ("--learning-rate", "--learning_rate", "--lr0"),
    "--epochs": ("--epoch", "--num-epochs", "--num-train-epochs", "--num_train_epochs"),
    "--batch-size": ("--batch", "--bs", "--batch_size", "--per-device-train-batch-size"),
    "--input-size": ("--img-size", "--image-size", "--imgsz", "--img_size", "--resolution"),
    "--in-chans": ("--channels", "--in-channels"),
    "--optimizer": ("--opt", "--optim"),
    "--weight-decay": ("--wd", "--weight_decay"),
    "--label-smoothing": ("--smoothing", "--label_smoothing"),
    "--augment": ("--aa", "--augmentation", "--aug"),
    "--text-column": ("--text-col", "--text_column", "--text-field"),
    "--image-column": ("--image-col", "--image_column", "--image-field", "--path-column"),
    "--label-column": ("--label-col", "--label_column", "--target", "--target-column"),
    "--label-columns": ("--label-cols", "--label_columns", "--targets", "--target-columns"),
    "--precision": ("--dtype", "--amp", "--fp16", "--bf16", "--half"),
    "--from-scratch": ("--no-pretrained", "--scratch"),
    "--overwrite": ("--force", "--exist-ok", "--overwrite-output-dir"),
    "--val-fraction": ("--val-split", "--validation-split", "--val-size"),
    "--budget": ("--time", "--time-limit", "--max-time", "--timeout"),
    "--strategy": ("--method", "--mode", "--freeze"),
    "--reject-below": ("--threshold", "--conf"),
    "--offline": ("--local-files-only",),
}
_SENTENCES = {
    ("--device", "--gpu", "--gpus", "--cpu", "--cuda", "--no-cuda"): (
        "the GPU is used where there is one; CUDA_VISIBLE_DEVICES=N before the command chooses it, "
        "ACCELERATE_USE_CPU=1 the CPU"
    ),
    ("--workers", "--num-workers", "--jobs", "--threads", "-j"): (
        "as many threads as there are cores read data; OMP_NUM_THREADS=N before the command "
        "sets how many compute"
    ),
    ("--num-classes", "--num-labels", "--classes"): "the classes are those of the data",
    ("--pretrained",): "SOURCE is pretrained; --from-scratch takes random weights",
    ("--model", "--model-name", "--checkpoint", "--weights"): (
        "the model is the first argument, without an option"
    ),
    ("--data", "--dataset", "--data-dir", "--data-path", "--train-dir"): (
        "the data is the argument after the model, without an option"
    ),
}


def command(name: str) -> str | None:
    """Our command that another tool calls `name`."""
    return next((own for own, others in _COMMANDS.items() if name.lower() in others), None)


def option(error: click.NoSuchOption, command: click.Command) -> click.NoSuchOption:
    """The error with our option of `command` that another tool calls so, if there is one."""
    name = error.option_name
    own = {flag for parameter in command.params for flag in parameter.opts}
    answers = [f"here it is {flag}" for flag, others in _OPTIONS.items()
               if name in others and flag in own]  # fmt: skip
    answers += [sentence for others, sentence in _SENTENCES.items() if name in others]
    if not answers:
        return error
    return click.NoSuchOption(name, f"No such option '{name}': {answers[0]}", ctx=error.ctx)
