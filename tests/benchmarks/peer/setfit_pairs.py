"""SetFit with its defaults: the sentence encoder trained on pairs of texts, for the steps that fit,
and logistic regression on its embeddings. One epoch, its default, is every pair of the training
texts."""

from __future__ import annotations

import itertools
import random
import time

from job import Job, Row, Unable, run


def predict(job: Job) -> list[Row]:
    if job.modality != "text":
        raise Unable("SetFit trains on texts alone")
    if job.task == "regression":
        raise Unable("SetFit trains no regression")
    import numpy as np
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    strategy = {"multi_target_strategy": "one-vs-rest"} if job.task == "multilabel" else {}

    def train(steps: int, places: list[int]) -> SetFitModel:
        data = Dataset.from_dict(
            {
                "text": [job.train[k] for k in places],
                "label": [job.targets[k] for k in places],
            }
        )
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

    few = random.Random(job.seed).sample(range(len(job.train)), min(256, len(job.train)))
    train(1, few[:64])
    ends = [time.process_time()]
    for steps, places in ((1, few[:64]), (11, few[:64]), (1, few)):
        train(steps, places)
        ends.append(time.process_time())
    start, more_steps, more_texts = (end - begin for begin, end in itertools.pairwise(ends))
    step = max(0.01, (more_steps - start) / 10)
    text = max(0.0, (more_texts - start) / max(1, len(few) - 64))
    spare = start + text * (len(job.train) + len(job.test))
    model = train(job.fits(step, spare=spare), list(range(len(job.train))))
    rows = model.predict_proba(job.test, as_numpy=True)
    if job.task == "multilabel":
        rows = np.asarray(rows)
    return rows.tolist()


if __name__ == "__main__":
    run(predict)
