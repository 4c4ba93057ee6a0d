"""SetFit with its defaults: the sentence encoder trained on pairs of texts, for the steps that fit,
and logistic regression on its embeddings. One epoch, its default, is every pair of the training
texts."""

from __future__ import annotations

import time

from job import Job, Row, Unable, run


def predict(job: Job) -> list[Row]:
    import numpy as np
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    if job.modality != "text":
        raise Unable("SetFit trains on texts alone")
    if job.task == "regression":
        raise Unable("SetFit trains no regression")
    strategy = {"multi_target_strategy": "one-vs-rest"} if job.task == "multilabel" else {}
    data = Dataset.from_dict({"text": job.train, "label": job.targets})

    def train(steps: int) -> SetFitModel:
        model = SetFitModel.from_pretrained(str(job.weights), **strategy)
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(job.folder / "setfit"),
                max_steps=steps,
                seed=job.seed,
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
            ),
            train_dataset=data,
        )
        trainer.train()
        return model

    started = time.process_time()
    train(1)
    one = time.process_time()
    train(11)
    head = one - started  # loads, embeds every text once and fits the head
    step = max(0.01, (time.process_time() - one - head) / 10)
    model = train(job.fits(step, spare=head * (1 + len(job.test) / len(job.train))))
    rows = model.predict_proba(job.test, as_numpy=True)
    if job.task == "multilabel":
        rows = np.asarray(rows)
    return rows.tolist()


if __name__ == "__main__":
    run(predict)
