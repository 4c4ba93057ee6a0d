"""The pretrained network's features in float32, and scikit-learn's linear model of the task: timm's
network and its transforms for images, sentence-transformers for texts."""

from __future__ import annotations

import numpy as np
from images import batches, network
from job import Job, Row, run
from linear import fit_predict


def predict(job: Job) -> list[Row]:
    from sklearn.preprocessing import StandardScaler

    features = text_features if job.modality == "text" else image_features
    train, test = features(job, job.train), features(job, job.test)
    scale = StandardScaler().fit(train)
    strengths = np.logspace(-4, 0, 5)
    return fit_predict(job, scale.transform(train), scale.transform(test), strengths=strengths)


def text_features(job: Job, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(job.weights)).encode(texts, show_progress_bar=False)


def image_features(job: Job, files: list[str]) -> np.ndarray:
    import torch

    net = network(job, outputs=0).eval()
    with torch.inference_mode():
        return np.concatenate([net(x).numpy() for x in batches(job, net, files)])


if __name__ == "__main__":
    run(predict)
