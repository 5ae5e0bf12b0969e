"""What a study's numbers say, and what they do not, in plain sentences. Read from the run folder alone."""

from __future__ import annotations

import math

from aae.metrics import healthy_classes, is_error, shown
from analysis.confirmed import uncertainty
from analysis.gain import gain_lines
from analysis.rungs import rung_lines
from analysis.trials import MAX_LISTED, Run, TrialRecord, states

MAX_REASONS = 3  # that a sentence names


def search_verdict(run: Run) -> list[str]:
    """The answer first, then what it rests on."""
    best = run.best
    if best is None:
        return no_verdict(run)
    lines = [search_headline(run, best)]
    by_mean = bool(run.choice.get("trials"))  # how the driver ranked them
    if by_mean:
        lines += expected_lines(run, best)
    tied = (
        []
        if by_mean
        else [trial.name for trial in run.complete if trial is not best and (trial.excess, trial.value) == (best.excess, best.value)]
    )
    if tied:
        alike = f"Trials {', '.join(tied)} have" if len(tied) > 1 else f"Trial {tied[0]} has"
        lines.append(f"{alike} the same number; the earliest one is named.")
    unfinished = states(run)["interrupted"]
    if unfinished:
        lines.append(f"{unfinished} of {len(run.trials)} trials {'have' if unfinished > 1 else 'has'} not ended yet, so this may change.")
    numbers = [trial.value for trial in run.complete if not trial.excess]
    scored, flatters = len(numbers), best is run.lowest and not best.excess and len(set(numbers)) > 1
    lines.append(
        f"This is {'what the search alone said' if run.confirmed else 'no result yet'}: {describe_draw(best)}"
        + (f", and the lowest of {scored} complete trials' numbers, which flatters it." if flatters else ".")
    )
    lines += each_draw(run, best)
    lines += seen(run, best) + begun_elsewhere(run) + rung_lines(run) + gain_lines(run)
    lines.append("The search did not read the test set." if run.confirmed else "The test set was not read.")
    return lines + beside(run, best) + baseline_lines(run, best)


def search_headline(run: Run, best: TrialRecord) -> str:
    value = f"{run.metric} {run.value_text(best.value)} after {best.epochs} epoch{'s' if best.epochs > 1 else ''}"
    if run.constraint is None:
        return f"Best configuration: trial {best.name}, {value}."
    metric, upper = run.constraint["metric"], run.constraint["upper"]
    held = f"{metric} {shown(metric, best.last.get(metric))}"
    if best.excess:
        return f"No complete trial keeps {metric} at most {upper:g}; the nearest is trial {best.name}, {held}, {value}."
    return f"Best configuration: trial {best.name}, {value}, with {held} (at most {upper:g})."


def expected_lines(run: Run, best: TrialRecord) -> list[str]:
    """How the best was chosen, and why it may not be the lowest."""
    if best.expected:
        value, low, high = (run.value_text(best.expected[key]) for key in ("expected", "low", "high"))
        text = f"its configuration: {value} ({low} to {high}, 95 %) without one training's noise"
        lines = [f"It was chosen by what all trials together say of {text}."]
    else:
        lines = ["It lies outside the search space, so its own number ranks it; what all trials together say ranks the others."]
    lowest = run.lowest
    if lowest is not None and lowest is not best:
        why = (
            f"which lies outside the search space, so its own number ranks it; a lower one is expected of trial {best.name}'s configuration"
        )
        if lowest.expected:
            why = f"which its neighbours make look like luck: {run.value_text(lowest.expected['expected'])} is expected of it"
        lines.append(f"The lowest number is trial {lowest.name}'s {run.value_text(lowest.value)}, {why}.")
    return lines


def describe_draw(best: TrialRecord) -> str:
    """What one training stands for: one of many draws of labels, where it has any, and of weights."""
    if not best.config:
        return "one training, whose config.yaml is missing"
    num_labels, num, first = best.config.get("data.num_labels"), best.config.get("data.num_draws") or 1, best.config.get("train.seed")
    initialisation = f"one initialisation (seed {first})"
    if num_labels in (None, 0, -1):
        if num > 1 and first is not None:
            initialisation = f"the mean over {num} initialisations (seeds {first} to {first + num - 1})"
        return f"{initialisation}, trained {'with all' if num_labels else 'without'} labels"
    seed = best.config["data.label_seed"]
    if num > 1:
        return f"the mean over {num} draws of {num_labels:,} labels (label seeds {seed} to {seed + num - 1}) and {initialisation}"
    return f"one draw of {num_labels:,} labels (label seed {seed}) and {initialisation}"


def each_draw(run: Run, best: TrialRecord) -> list[str]:
    """Of a trial of several draws, whose number is their mean; silent where a metric is not recorded by draw."""
    values = best.last.get(f"{run.metric}_draws")
    return [f"Its draws, one by one: {', '.join(map(run.value_text, values))}."] if values else []


def begun_elsewhere(run: Run) -> list[str]:
    """Of a study whose trials go on from another's."""
    fork = run.manifest.get("fork")
    if fork is None:
        return []
    parents = ", ".join(str(parent["trial"]) for parent in fork["parents"])
    return [f"Up to epoch {fork['epoch']} a trial is its parent, one of {fork['run']}: {parents}; seconds are those of the epochs after."]


def seen(run: Run, best: TrialRecord) -> list[str]:
    """What of the validation data the choice rests on, and how uncertain their number makes it."""
    num = best.config.get("data.num_validation")
    if not num or best.value is None:
        return []
    if not is_error(run.metric):
        told = best.config.get("model.class_source") == "label"
        labels = "their labels, which the decoder is told" if told else "none of their labels"
        return [f"The search used {num:,} validation images, after every epoch of every trial, and {labels}."]
    unseen = run.metric == "val/cluster_error" and not best.config.get("objective.adversarial_z.sees_label")
    training = " Training saw no label; this choice does." if unseen else ""
    return [
        f"The search used {num:,} validation labels, after every epoch of every trial.{training} Their number alone makes the error "
        f"uncertain by {uncertainty(best.value, num)}."
    ]


def no_verdict(run: Run) -> list[str]:
    if not run.trials:
        return ["No trial has been asked yet, so there is nothing to judge."]
    if all(trial.state == "FAIL" for trial in run.trials):
        all_of = "The one trial" if len(run.trials) == 1 else f"All {len(run.trials)} trials"
        reasons = [trial.reason or "no reason was recorded" for trial in run.trials]
        return [f"{all_of} failed, so there is no best configuration.", *why_lines(reasons)]
    count = ", ".join(f"{count} {state}" for state, count in states(run).items() if count)
    lost = [trial.reason for trial in run.trials if trial.state in ("DIVERGED", "FAIL") and trial.reason]
    return [f"No trial is complete, so there is no best configuration ({count}).", *why_lines(lost), "The test set was not read."]


def why_lines(reasons: list[str]) -> list[str]:
    """The first three that differ."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - MAX_REASONS
    rest = f" And {more} other reason{'s' if more > 1 else ''}, in the table of trials." if more > 0 else ""
    return [f"Why: {'; '.join(different[:MAX_REASONS])}.{rest}"] if different else []


# ---- what a metric needs beside it ----


def beside(run: Run, best: TrialRecord) -> list[str]:
    lines = constraint_lines(run)
    if run.metric == "val/cluster_error":
        lines.append(without_labels(run, best))
    if run.metric == "val/component_error" and "val/component_error_of_prior" in best.last:
        floor = run.value_text(best.last["val/component_error_of_prior"])
        lines.append(f"Of the prior's own samples {floor} lie nearest to another class's part: codes that match it perfectly get no lower.")
    if run.metric == "val/parzen_nll" and "val/parzen_std" in best.last:
        std, num = best.last["val/parzen_std"], best.config.get("train.parzen_samples")
        lines.append(
            f"It is minus a Parzen estimate over {num:,} samples, window {std:.2f} wide, chosen on other validation images: a rough one, "
            "that grows with the samples; analysis.test scores real training images beside it."
        )
    return lines


def constraint_lines(run: Run) -> list[str]:
    if run.constraint is None:
        return []
    metric, upper = run.constraint["metric"], run.constraint["upper"]
    broken = sorted((trial for trial in run.complete if trial.excess), key=lambda trial: trial.number)
    if not broken:
        return [f"All complete trials keep {metric} at most {upper:g}."]
    named = ", ".join(f"{trial.name} ({shown(metric, trial.last.get(metric))})" for trial in broken[:MAX_LISTED])
    more = f" and {len(broken) - MAX_LISTED} more" if len(broken) > MAX_LISTED else ""
    return [f"{len(broken)} of {len(run.complete)} complete trials break {metric} at most {upper:g}: trial {named}{more}."]


def without_labels(run: Run, best: TrialRecord) -> str:
    """The choice that somebody without a label could have made."""
    rule = "the lowest val/reconstruction where q(y) is healthy: even, sure, and over at least 0.8 of the clusters"
    healthy = [trial for trial in run.complete if is_healthy(trial)]
    if not healthy:
        return f"Without labels nothing could have been chosen ({rule}): no complete trial is."
    chosen = min(healthy, key=lambda trial: (trial.last["val/reconstruction"], trial.number))
    same = ", the same one" if chosen is best else ""
    return (
        f"Chosen without labels ({rule}; {len(healthy)} of {len(run.complete)} complete trials are): trial {chosen.name}{same}, "
        f"{run.metric} {run.value_text(chosen.value)}, val/reconstruction {shown('val/reconstruction', chosen.last['val/reconstruction'])}."
    )


def is_healthy(trial: TrialRecord) -> bool:
    return healthy_classes(trial.last, trial.config.get("model.num_classes", 0), trial.config.get("data.num_validation", math.inf))


def baseline_lines(run: Run, best: TrialRecord) -> list[str]:
    baselines = [trial for trial in run.trials if trial.baseline]
    if not baselines:
        return ["This study ran no baseline, so nothing known stands beside the number."]
    lines, gaps = [], 0
    searched = any(not trial.baseline for trial in run.complete)
    same = "labels and epochs" if best.config.get("data.num_labels") else "images and epochs"
    for trial in baselines:
        name = f"Baseline {trial.baseline} (trial {trial.number})"
        if trial is best:
            what = "the nearest" if best.excess else "the best"
            than = "is expected to be better" if run.choice.get("trials") else "was better"
            lines.append(f"{name} is itself {what}: no searched configuration {than if searched else 'is complete'}.")
        elif trial.state != "COMPLETE" or trial.value is None or best.value is None:
            lines.append(f"{name} is {trial.state}{f' ({trial.reason})' if trial.reason else ''}: no number to compare with.")
        elif trial.excess > best.excess:
            lines.append(f"{name}: {run.value_text(trial.value)}, and it breaks the constraint: no number to compare with.")
        else:
            gap = (trial.value - best.value) * run.scale
            text = f"{abs(gap):.2f} points" if is_error(run.metric) else shown(run.metric, abs(gap))
            far = f"{text} {'above' if gap > 0 else 'below'} the best" if gap else "as good as the best"
            lines.append(f"{name}: {run.value_text(trial.value)}, {far}, on the same {same}.")
            gaps += not best.baseline and gap > 0
    if gaps:
        lines.append("The baselines were run once and not selected, so even a real gap would look larger here than it is.")
    return lines
