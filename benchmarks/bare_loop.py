"""The semi-supervised AAE's two updates written plainly, as one would in a notebook: the yardstick for `aae.train`.

    python -m benchmarks.bare_loop [--steps 40] [--repeats 7] [--precision float32 bfloat16]

Times ours and the plain loop in turn, in one process and on one thread, on the same random images, and appends the ratios to
benchmarks/records.jsonl. Ours runs with all of its logging, averaging and schedule; the plain loop has averaged weights in the
joint update too, as the recipe it was written after (docs/results.md), and fetches no loss.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from aae import manifest
from aae.data import Split
from aae.device import steady_memory
from aae.draws import Draw
from aae.inputs import parse_overrides, read_sweep
from aae.layers import trial_from_sweep
from aae.train import train_epoch
from aae.updates import State

RECORDS = Path(__file__).with_name("records.jsonl")


def network(*dims: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(dims):
        layers += [nn.Linear(i, o), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    for layer in net[::2]:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return net


class BareLoop:
    def __init__(self, images, labelled, labels, update, precision):
        self.images, self.labelled, self.labels, self.update, self.precision = images, labelled, labels, update, precision
        self.encoder, self.decoder = network(784, 1000, 1000, 20), network(20, 1000, 1000, 784)
        self.disc_z, self.disc_y = network(10, 1000, 1000, 1), network(10, 1000, 1000, 1)
        encoder, decoder = list(self.encoder.parameters()), list(self.decoder.parameters())
        critics = [*self.disc_z.parameters(), *self.disc_y.parameters()]
        self.sgd = {
            "reconstruction": torch.optim.SGD(encoder + decoder, lr=0.01, momentum=0.9),
            "discriminator": torch.optim.SGD(critics, lr=0.1, momentum=0.1),
            "generator": torch.optim.SGD(encoder, lr=0.1, momentum=0.1),
            "classification": torch.optim.SGD(encoder, lr=0.1, momentum=0.9),
        }
        self.averaged = copy.deepcopy([*encoder, *decoder])

    def encode(self, x):
        code = self.encoder(x)
        return code[:, :10], code[:, 10:]

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.precision == "bfloat16" else contextlib.nullcontext()

    def critic_loss(self, y, z):
        n, one, zero = len(z), torch.ones(len(z), 1), torch.zeros(len(z), 1)
        real_y, real_z = F.one_hot(torch.randint(10, (n,)), 10).float(), torch.randn(n, 10)
        bce = F.binary_cross_entropy_with_logits
        return (
            bce(self.disc_z(real_z).float(), one)
            + bce(self.disc_z(z).float(), zero)
            + bce(self.disc_y(real_y).float(), one)
            + bce(self.disc_y(y).float(), zero)
        )

    def fool_loss(self, y, z):
        one = torch.ones(len(z), 1)
        bce = F.binary_cross_entropy_with_logits
        return bce(self.disc_z(z).float(), one) + bce(self.disc_y(y).float(), one)

    def reconstruction_loss(self, y, z, x):
        return 0.5 * (torch.sigmoid(self.decoder(torch.cat([y, z], 1)).float()) - x).pow(2).sum(1).mean()

    def run(self, steps):
        for rows in torch.randperm(len(self.images))[: steps * 100].split(100):
            x = self.images[rows].float() / 255
            noisy = x + 0.3 * torch.randn_like(x)
            noisy_labelled = self.labelled + 0.3 * torch.randn_like(self.labelled)
            (self.alternating if self.update == "alternating" else self.joint)(x, noisy, noisy_labelled)

    def step(self, phase, loss):
        for optimizer in self.sgd.values():
            optimizer.zero_grad()
        loss.backward()
        self.sgd[phase].step()

    def alternating(self, x, noisy, noisy_labelled):
        with self.autocast():
            logits, z = self.encode(noisy)
            loss = self.reconstruction_loss(logits.float().softmax(1), z, x)
        self.step("reconstruction", loss)
        with self.autocast():
            with torch.no_grad():
                logits, z = self.encode(noisy)
            loss = self.critic_loss(logits.float().softmax(1), z)
        self.step("discriminator", loss)
        with self.autocast():
            logits, z = self.encode(noisy)
            loss = self.fool_loss(logits.float().softmax(1), z)
        self.step("generator", loss)
        with self.autocast():
            loss = F.cross_entropy(self.encode(noisy_labelled)[0].float(), self.labels)
        self.step("classification", loss)

    def joint(self, x, noisy, noisy_labelled):
        with self.autocast():
            logits, z = self.encode(noisy)
            y = logits.float().softmax(1)
            critic = self.critic_loss(y.detach(), z.detach())
        self.step("discriminator", critic)
        with self.autocast():
            losses = {
                "reconstruction": self.reconstruction_loss(y, z, x),
                "generator": self.fool_loss(y, z),
                "classification": F.cross_entropy(self.encode(noisy_labelled)[0].float(), self.labels),
            }
        gradients = {}
        for phase, loss in losses.items():
            parameters = [p for group in self.sgd[phase].param_groups for p in group["params"]]
            gradients[phase] = parameters, torch.autograd.grad(loss, parameters, retain_graph=True)
        for phase, (parameters, values) in gradients.items():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.grad = value
            self.sgd[phase].step()
        with torch.no_grad():
            for average, parameter in zip(self.averaged, [*self.encoder.parameters(), *self.decoder.parameters()], strict=True):
                average.mul_(0.999).add_(parameter, alpha=0.001)


def ours(images, labelled_images, labels, update, precision):
    sweep = read_sweep("sweeps/semi.yaml")
    overrides = parse_overrides([f"train.update={update}", f"train.precision={precision}"])
    if update == "joint":
        overrides |= {"train.ema_decay": 0.999}
    config = trial_from_sweep(sweep, "paper", overrides)
    state = State(config, 784, torch.device("cpu"))
    train, labelled = Split(images, torch.zeros(len(images), dtype=torch.long)), Split(labelled_images, labels)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    draw = Draw(state, train, labelled)
    return lambda steps: train_epoch(draw, (1, 28, 28), steps, autocast, lambda step: 1.0)


def time_in_turn(contenders: dict[Any, Callable[[int], Any]], steps: int, repeats: int) -> dict[Any, list[float]]:
    """Seconds of a step, of each contender in each repeat, after ten steps to warm up."""
    seconds: dict[Any, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run(10)
    for _ in range(repeats):
        for name, run in contenders.items():
            started = time.perf_counter()
            run(steps)
            seconds[name].append((time.perf_counter() - started) / steps)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    options = parser.parse_args()
    steady_memory()  # for both
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20_000, 784), dtype=torch.uint8)
    labelled, labels = torch.randint(0, 256, (100, 784), dtype=torch.uint8), torch.arange(100) % 10
    for precision in options.precision:
        for update in ("alternating", "joint"):
            contenders = {
                "bare": BareLoop(images, labelled.float() / 255, labels, update, precision).run,
                "ours": ours(images, labelled, labels, update, precision),
            }
            seconds = time_in_turn(contenders, options.steps, options.repeats)
            ratios = [b / o for b, o in zip(seconds["bare"], seconds["ours"], strict=True)]
            record = {
                "benchmark": "bare_loop",
                "update": update,
                "precision": precision,
                "speed_over_bare_median": round(statistics.median(ratios), 3),
                "speed_over_bare_range": [round(min(ratios), 3), round(max(ratios), 3)],
                "ours_ms_per_step": round(1e3 * statistics.median(seconds["ours"]), 2),
                "bare_ms_per_step": round(1e3 * statistics.median(seconds["bare"]), 2),
                "n": options.repeats,
                "steps": options.steps,
                "threads": 1,
                "device": manifest.device_name(),
                "commit": manifest.git("rev-parse", "--short", "HEAD"),
            }
            print(json.dumps(record))
            with open(RECORDS, "a") as file:
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
