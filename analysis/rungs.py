"""What each epoch of a search foretold, and which rungs counted: what its driver measured, aae/tuning/study/rungs.py."""

from __future__ import annotations

from typing import NamedTuple

from analysis.trials import Run


class Rung(NamedTuple):
    epoch: int
    correlation: float | None  # Spearman's, of the order of the whole trials there with that at the end; None: not known yet
    counts: bool  # the pruner may stop a trial there now
    stopped: int  # trials
    left_out: int  # trials that it would have stopped


def rungs_of(run: Run) -> list[Rung]:
    """Of every epoch at which the pruner is asked; empty where nothing prunes, and of a run folder that is older than this."""
    measured = run.choice.get("rungs")
    if measured is None:
        return []
    epochs = sorted({int(epoch) for key in ("correlation", "stops", "stops_left_out") for epoch in measured[key]})
    rows = []
    for epoch in epochs:
        correlation = measured["correlation"].get(str(epoch))
        least = measured["least_correlation"]
        counts = correlation is None or least is None or correlation >= least
        stopped, left_out = (measured[key].get(str(epoch), 0) for key in ("stops", "stops_left_out"))
        rows.append(Rung(epoch, correlation, counts, stopped, left_out))
    return rows


def known_rungs(run: Run) -> list[Rung]:
    """Those whose correlation is known: none before enough whole trials tell one."""
    return [rung for rung in rungs_of(run) if rung.correlation is not None]


def rungs_caption(run: Run) -> str | None:
    """Of the plot of them; None where there is nothing to plot."""
    if not known_rungs(run):
        return None
    measured = run.choice["rungs"]
    what = (
        f"Spearman's rank correlation of {run.metric} after each epoch with that of the last one, over the {measured['trials']} searched "
        "trials that ran all of their epochs."
    )
    if measured["least_correlation"] is None:
        return f"{what} Circles: epochs at which trials were stopped."
    return (
        f"{what} Circles: epochs at which the pruner wanted to stop trials. Below {measured['least_correlation']:g} it lets them go on; "
        f"before {measured['least_trials']} such trials were known it stopped them there too."
    )


def rung_lines(run: Run) -> list[str]:
    """Of the epochs at which the pruner wanted to stop somebody; rungs_of has the others."""
    measured, acted = run.choice.get("rungs"), [rung for rung in rungs_of(run) if rung.stopped or rung.left_out]
    if measured is None or measured["least_correlation"] is None or not acted:
        return []
    if not measured["correlation"]:
        num, least = measured["trials"], measured["least_trials"]
        return [f"The rungs are the file's: {num} searched trials ran all of their epochs, and {least} are needed to judge an epoch."]
    return [
        f"How well an epoch foretells the end, by the rank correlation of {measured['trials']} whole trials; below "
        f"{measured['least_correlation']:g} the pruner stops nobody: {'; '.join(map(rung_text, acted))}."
    ]


def rung_text(rung: Rung) -> str:
    correlation = "not known" if rung.correlation is None else f"{rung.correlation:.2f}"
    more = f", {rung.left_out} let go on" if rung.left_out else ""
    return f"epoch {rung.epoch}: {correlation} ({rung.stopped} stopped{more})"
