"""Do new images show the class that they were asked to be of? Each FOLDER is one training with its checkpoint, JUDGE another one.

    python -m benchmarks.class_control --judge JUDGE FOLDER ...

2,000 images of each class, their styles from the prior, are read by JUDGE's encoder, which should be a good one: what it gets wrong of
real images is said beside. `val/class_from_z` is what z still tells of the class (`aae.metrics`).
"""

# N images, K classes

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from aae import checkpoint, metrics
from aae.data import load_configured
from aae.model import Encoder

IMAGES = 2000  # of a class


@torch.no_grad()
def shown_as_asked(folder: Path, judge: Encoder) -> list[float]:
    """Of each class, the fraction of its new images that the judge reads as it."""
    model, config = checkpoint.load(folder)
    shares = []
    for label in range(model.decoder.num_classes):
        images_NX = metrics.new_images(model, config, IMAGES, torch.Generator().manual_seed(label), label)
        shares.append(float((judge(images_NX)[0].argmax(dim=-1) == label).double().mean()))
    return shares


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, required=True, metavar="JUDGE")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    options = parser.parse_args(arguments)
    judge, config = checkpoint.load(options.judge)
    dataset = load_configured(config.data)
    wrong = metrics.error(metrics.class_logits(judge.encoder, dataset.validation), dataset.validation.label_N)
    print(f"the judge's own error on {len(dataset.validation.label_N)} validation images: {metrics.shown('val/error', wrong)}")
    means, told = [], []
    for folder in options.folders:
        shares = shown_as_asked(folder, judge.encoder)
        model, config = checkpoint.load(folder)
        row, _ = metrics.evaluate(model, dataset.validation, config, dataset.image_shape)
        means.append(statistics.mean(shares))
        told.append(row["val/class_from_z"])
        print(
            f"{folder}: {100 * means[-1]:.1f} % show the class asked for, of the worst class {100 * min(shares):.1f} %; "
            f"class_from_z {told[-1]:.3f}",
            flush=True,
        )
    if len(means) > 1:
        print(
            f"mean of {len(means)}: {100 * statistics.mean(means):.1f} % (standard deviation {100 * statistics.stdev(means):.1f}); "
            f"class_from_z {statistics.mean(told):.3f} ({statistics.stdev(told):.3f})"
        )


if __name__ == "__main__":
    main()
