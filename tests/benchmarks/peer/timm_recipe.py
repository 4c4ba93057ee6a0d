"""The recipe of timm's training script, by timm's own functions.

The script itself (`train.py`) is in neither the wheel nor the source package. Its defaults: SGD
with momentum .9 and a learning rate of .1 for 256 samples, weight decay 2e-5, a cosine after five
epochs of warm-up, random crops of 8 to 100 % of the image, flips, colour jitter .4, label smoothing
.1.
Different here, since the sets are small: 32 images in a batch in place of 128, and the epochs that
fit in place of 300.
"""

from __future__ import annotations

from images import epoch_seconds, network, probabilities, settings
from job import Job, Row, Unable, run

BATCH = 32
WARMUP = 5


def predict(job: Job) -> list[Row]:
    if job.modality != "image" or job.task != "classification":
        raise Unable("timm's training script trains image classifiers")
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    torch.manual_seed(job.seed)
    net = network(job, outputs=len(job.names))
    dataset = create_dataset("", root=job.class_folders())
    loader = create_loader(
        dataset,
        batch_size=min(BATCH, len(job.train)),
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        color_jitter=0.4,
        num_workers=0,
        use_prefetcher=False,
        device=torch.device("cpu"),
        interpolation="random",
        **{k: v for k, v in settings(job, net).items() if k in ("input_size", "mean", "std")},
    )
    smoothed = LabelSmoothingCrossEntropy(0.1)
    optimizer = create_optimizer_v2(
        net, opt="sgd", lr=0.1 * BATCH / 256, momentum=0.9, weight_decay=2e-5
    )

    def gradients(x: torch.Tensor, y: torch.Tensor) -> None:
        net.train()
        optimizer.zero_grad()
        smoothed(net(x), y).backward()

    one = epoch_seconds(net, loader, gradients)
    epochs = job.fits(one, spare=one / 2 * len(job.test) / len(job.train))
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=min(WARMUP, epochs // 4),
        warmup_lr=1e-5,
    )
    for number in range(epochs):
        schedule.step(number)
        for x, y in loader:
            gradients(x, y)
            optimizer.step()
    return probabilities(job, net)


if __name__ == "__main__":
    run(predict)
