"""transformers' Trainer with its defaults (AdamW, 5e-5, batches of 8, a linear schedule), for the
epochs that fit, three at most, which is its default."""

from __future__ import annotations

import time

import numpy as np
from job import Job, Row, Unable, run

EPOCHS = 3


def predict(job: Job) -> list[Row]:
    if job.modality != "text":
        raise Unable("run on texts alone: timm's own recipe has the row of images")
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    kind = {
        "classification": "single_label_classification",
        "multilabel": "multi_label_classification",
        "regression": "regression",
    }[job.task]
    tokenizer = AutoTokenizer.from_pretrained(job.weights)
    as_target = int if job.task == "classification" else np.float32

    def samples(texts: list[str], targets: list) -> list[dict]:
        rows = [tokenizer(text, truncation=True, max_length=512) for text in texts]
        for row, target in zip(rows, targets, strict=False):
            row["labels"] = (
                as_target(target) if job.task != "multilabel" else np.float32(target).tolist()
            )
        return [dict(row) for row in rows]

    def trainer(texts: list[str], targets: list, **length: float) -> Trainer:
        torch.manual_seed(job.seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            job.weights, num_labels=len(job.names), problem_type=kind, dtype=torch.float32
        )
        return Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(job.folder / "trainer"),
                seed=job.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
                **length,
            ),
            train_dataset=samples(texts, targets),
            data_collator=DataCollatorWithPadding(tokenizer),
        )

    steps = min(30, len(job.train) // 8)
    timed = trainer(job.train, job.targets, max_steps=steps)
    started = time.process_time()
    timed.train()
    one = (time.process_time() - started) / steps * len(job.train) / 8
    spare = one / 2 * len(job.test) / len(job.train)
    epochs = min(EPOCHS, max(0.05, (job.left() - spare) / one))
    learner = trainer(job.train, job.targets, num_train_epochs=epochs)
    learner.train()
    logits = torch.from_numpy(learner.predict(samples(job.test, [])).predictions)
    if job.task == "regression":
        return logits.reshape(-1, 1).tolist()
    return (logits.softmax(1) if job.task == "classification" else logits.sigmoid()).tolist()


if __name__ == "__main__":
    run(predict)
