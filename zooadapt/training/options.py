"""The options of `adapt`, each stated once: as a field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zooadapt.runtime.options import Group, option
from zooadapt.runtime.ranges import MANY, Range, seconds
from zooadapt.training.strategies import AUTO, FROM, STRATEGIES, Recipe, Train

_TRAINED = {
    name: [phase for phase in phases if isinstance(phase, Train)]
    for name, phases in STRATEGIES.items()
}
_EPOCHS = ", ".join(
    f"{name} {sum(phase.epochs for phase in phases)}" for name, phases in _TRAINED.items() if phases
)
_RATES = ", ".join(sorted({f"{phase.lr:g}" for phases in _TRAINED.values() for phase in phases}))
_SIZE = "the pretrained model's"


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """How a model is adapted; None leaves the choice to the plan."""

    labels_per_class: int | None = option(
        None, "Training samples to use of each class.", Group.DATA, by_default="all", range=Range(1)
    )
    candidates: str | None = option(
        None,
        "Sources that best chooses from, separated by commas.",
        Group.STRATEGY,
        by_default="those on this machine",
        metavar="SOURCES",
    )
    unlabelled: str | None = option(
        None,
        "More samples without labels: a table, a text file with one text a line, or a folder. "
        "What is learned from them is kept only if it lowers the loss on your labels.",
        Group.DATA,
        by_default="none",
        metavar="PLACE",
    )
    strategy: str = option(
        AUTO, f"What is trained: {', '.join(STRATEGIES)} or {FROM}STAGE.", Group.STRATEGY
    )
    budget: float | None = option(
        None,
        "Time limit, as 90s, 10m or 1h; at its end the best model so far is exported.",
        Group.STRATEGY,
        by_default="auto: 10m; other strategies: none",
        range=Range(0, 1000 * MANY, without=(0,)),
        parse=seconds,
        metavar="TIME",
    )
    from_scratch: bool = option(
        False, "Train the same network from random weights.", Group.STRATEGY
    )
    overwrite: bool = option(False, "Replace the output folder if it exists.", Group.OUTPUT)
    resume: bool = option(
        False, "Continue an interrupted run from its last checkpoint.", Group.OUTPUT
    )
    epochs: int | None = option(
        None,
        "Epochs of training in total.",
        Group.FINE_TUNING,
        by_default=f"by strategy: {_EPOCHS}; more on small data",
        range=Range(0),
    )
    lr: float | None = option(
        None,
        "Peak learning rate of the head with AdamW; SGD takes ten times as much.",
        Group.FINE_TUNING,
        by_default=f"by strategy: {_RATES}",
        range=Range(0, 1000, without=(0,)),
    )
    optimizer: str = option(
        Recipe.optimizer, "Optimiser.", Group.FINE_TUNING, choices=("adamw", "sgd")
    )
    patience: int | None = option(
        None,
        "Epochs without a lower validation loss after which a training phase ends.",
        Group.FINE_TUNING,
        by_default="no early stopping",
        range=Range(1),
    )
    stage_decay: float | None = option(
        None,
        "Factor on the learning rate for each stage towards the input.",
        Group.FINE_TUNING,
        by_default=f"{Recipe.stage_decay:g}; 1 with --from-scratch",
        range=Range(0, 1),
    )
    tune: str = option(
        Recipe.tune,
        "Which parameters to update: all, those of norm layers, biases, or low-rank updates.",
        Group.FINE_TUNING,
        choices=("all", "norm", "bias", "lora"),
    )
    lora_rank: int = option(
        Recipe.lora_rank, "Rank of the updates of --tune lora.", Group.FINE_TUNING, range=Range(1)
    )
    norm_statistics: str = option(
        "auto",
        "Running statistics of the norm layers that are trained: frozen or updated.",
        Group.FINE_TUNING,
        choices=("auto", "frozen", "train"),
    )
    weight_decay: float | None = option(
        None,
        "Weight decay; norm layers and biases have none.",
        Group.REGULARISATION,
        by_default=f"{Recipe.weight_decay:g}",
        range=Range(0, 1000),
    )
    label_smoothing: float | None = option(
        None,
        "Share of each label's probability that is spread over all classes.",
        Group.REGULARISATION,
        by_default=f"{Recipe.label_smoothing:g}",
        range=Range(0, 1, without=(1,)),
    )
    augment: str = option(
        "auto",
        "Random augmentation of the training images, drawn anew in every epoch.",
        Group.REGULARISATION,
        choices=("auto", "none", "crop", "flip", "rand"),
    )
    mixup: float = option(
        Recipe.mixup,
        "Mixup: parameter of its Beta distribution; try 0.2 with thousands of samples.",
        Group.REGULARISATION,
        by_default="0, off",
        range=Range(0, 1000),
    )
    cutmix: float = option(
        Recipe.cutmix,
        "CutMix: parameter of its Beta distribution; try 1 with thousands of images.",
        Group.REGULARISATION,
        by_default="0, off",
        range=Range(0, 1000),
    )
    ema: float = option(
        Recipe.ema,
        "Decay of an exponential moving average of the weights; try 0.99.",
        Group.REGULARISATION,
        by_default="0, off",
        range=Range(0, 1, without=(1,)),
    )
    soup: int = option(
        Recipe.soup,
        "Average the weights of the best epoch with those of up to this many next best ones, "
        "if that is better; try 4.",
        Group.REGULARISATION,
        by_default="0, off",
        range=Range(0),
    )
    l2sp: float = option(
        Recipe.l2sp,
        "L2-SP: decay towards the pretrained weights, in place of weight decay; try 1.",
        Group.REGULARISATION,
        by_default="0, off",
        range=Range(0, 1000),
    )
    head: str = option(
        "ridge",
        "Loss by which the head is fitted to frozen features.",
        Group.HEAD,
        choices=("ridge", "logistic"),
    )
    metric: str = option(
        Recipe.metric,
        "Metric by which epochs and models are compared.",
        Group.HEAD,
        choices=("accuracy", "balanced-accuracy"),
    )
    imbalance: str = option(
        "auto",
        "Correction for class imbalance.",
        Group.HEAD,
        choices=("auto", "none", "weights", "sampler", "logit-adjust"),
    )
    val_fraction: float = option(
        0.2,
        "Share of the training labels held out to compare epochs; a linear probe needs none.",
        Group.HEAD,
        range=Range(0, 1, without=(0, 1)),
    )
    folds: int | None = option(
        None,
        "Folds of a cross-validation of the fitted head, repeated three times.",
        Group.HEAD,
        by_default="leave-one-out",
        range=Range(2),
    )
    refit: bool = option(
        True,
        "After selection and measurement, continue training on all labels, held-out ones included.",
        Group.HEAD,
    )
    suspects: Path | None = option(
        None,
        "CSV file to write the likely label errors to.",
        Group.LABELS,
        by_default="none",
        metavar="FILE",
    )
    drop_suspects: bool = option(False, "Exclude likely label errors from training.", Group.LABELS)
    relabel_suspects: bool = option(
        False, "Train likely label errors as the likelier class.", Group.LABELS
    )
    input_size: int | None = option(
        None, "Image side in pixels.", Group.INPUTS, by_default=_SIZE, range=Range(8, 16384)
    )
    in_chans: int | None = option(
        None,
        "Image channels; 1 for greyscale.",
        Group.INPUTS,
        by_default=_SIZE,
        range=Range(1, 1024),
    )
    crop: str = option(
        "auto",
        "How images are brought to the input's shape: center crop, squash, or border (padding). "
        "auto compares them by leave-one-out if a crop would lose much.",
        Group.INPUTS,
        choices=("auto", "center", "squash", "border"),
    )
    max_length: int | None = option(
        None,
        "Tokens or characters read of each text.",
        Group.INPUTS,
        by_default=_SIZE,
        range=Range(3, 1 << 20),
    )
    precision: str = option(
        "auto",
        "Numerical precision; auto: bf16 if it is faster on this machine.",
        Group.COMPUTE,
        choices=("auto", "fp32", "bf16"),
    )
    batch_size: int | None = option(
        None,
        "Samples in a batch.",
        Group.COMPUTE,
        by_default=str(Recipe.batch_size),
        range=Range(1),
    )
    seed: int = option(
        0,
        "Random seed for splits, shuffling and initialisation.",
        Group.COMPUTE,
        range=Range(0, 2**32 - 1),
    )
    deterministic_plan: bool = option(
        False,
        "Plan by counted operations instead of measured seconds, so that every run plans the same.",
        Group.COMPUTE,
    )
    checkpoint_seconds: float = option(
        60.0,
        "Seconds of work that an interruption may cost.",
        Group.COMPUTE,
        range=Range(0, 1000 * MANY),
    )
    cache_gb: float = option(
        10.0,
        "Disk for stored activations in GB; 0 turns the cache off.",
        Group.COMPUTE,
        range=Range(0),
    )
    offline: bool = option(
        False, "Open no network connection; use downloaded files alone.", Group.COMPUTE
    )
