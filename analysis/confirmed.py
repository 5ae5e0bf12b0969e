"""What a confirmation found, in words that a referee would accept. Reads RUN/confirm/report.json, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aae.config import ConfigError
from aae.intervals import INTERVAL, coverage, t_interval, upper_bound
from aae.metrics import is_error, shown, unit
from aae.runs import CONFIRM, read_json


@dataclass(frozen=True)
class Confirmed:
    report: dict[str, Any]

    @property
    def metric(self) -> str:
        return str(self.report["metric"])

    @property
    def percent(self) -> bool:
        return is_error(self.metric)

    @property
    def unit(self) -> str:
        return " points" if self.percent else f" {unit(self.metric)}".rstrip()

    def values(self, role: str, metric: str | None = None) -> list[float | None]:
        """Of the winner or the baseline, one a draw; None where the training failed."""
        return list(self.report[role][metric or self.metric])

    def known(self, role: str) -> list[float]:
        return [value for value in self.values(role) if value is not None]

    @property
    def differences(self) -> list[float]:
        """Winner minus baseline, on the draws where both have a value."""
        if self.report["baseline"] is None:
            return []
        pairs = zip(self.values("winner"), self.values("baseline"), strict=True)
        return [first - second for first, second in pairs if first is not None and second is not None]

    def plain(self, value: float | None, sign: bool = False) -> str:
        """Without its unit."""
        if value is None:
            return "-"
        scaled = 100 * value if self.percent else value
        return f"{scaled:{'+' if sign else ''}.2f}" if self.percent else f"{scaled:{'+' if sign else ''}.4g}"

    def value_text(self, value: float | None) -> str:
        return shown(self.metric, value)

    def mean(self, role: str) -> str:
        """Mean and half width: 2.31 % +-0.12."""
        values = self.known(role)
        if not values:
            return "no value"
        text = self.value_text(float(np.mean(values)))
        return f"{text} +-{self.plain(t_interval(values)[1] - float(np.mean(values)))}" if len(values) > 1 else text


def read_confirmed(run: Path) -> Confirmed | None:
    """None where the run has no finished confirmation. Raises ConfigError where its report is broken."""
    path = run / CONFIRM / "report.json"
    report = read_json(path)
    if report is None:
        return None
    keys = {"metric", "winner", "baseline", "draws", "draw", "asked", "frozen", "candidates", "search", "num_test", "num_validation"}
    keys |= {"num_labels", "epochs", "difference_std_error_of_test_set", "fewer_labels"}
    if not isinstance(report, dict) or not report.keys() >= keys:
        raise ConfigError(f"{path}: broken, no report of a confirmation; remove it, and launch.py confirm writes it again")
    return Confirmed(report)


# ---- words ----


def confirmation_verdict(found: Confirmed) -> list[str]:
    """The answer first, then what it rests on, and what it does not say."""
    report = found.report
    lines = [confirmation_headline(found), *judgement(found)]
    lines += [spread_of(found, role) for role in ("winner", "baseline") if report[role] is not None]
    lines += [line for role in ("winner", "baseline") if report[role] is not None for line in accidents(found, role)]
    values = found.known("winner")
    if len(values) > 1:
        lines.append(
            f"Against a number from elsewhere: the winner reaches {found.value_text(float(np.mean(values)))} (its mean) and beats "
            f"what is above {found.value_text(upper_bound(values))} (its one-sided 95 % upper bound)."
        )
        n, (mean, trapped), _ = coverage(len(values))
        drawn = "labels and " if report["draw"] == "label seed" else ""
        lines.append(
            f"The intervals are {INTERVAL} over draws: each draw has its own {drawn}initial weights, the test images are the same. "
            f"In simulated confirmations of {n} draws with real residuals they held the true mean in {100 * mean:.0f} % of the cases, and "
            f"in {100 * trapped:.0f} % where a training in four is trapped."
        )
    if len(found.differences) > 1:
        *_, (mean, trapped) = coverage(len(found.differences))
        lines.append(f"The interval of the difference held the true one in {100 * mean:.0f} %, there in {100 * trapped:.0f} %.")
    lines += test_error(found)
    lines.append(selection(found))
    return lines + fewer_labels_lines(found)


def confirmation_headline(found: Confirmed) -> str:
    report = found.report
    what = f"{found.metric} after {report['epochs']} epochs"
    first = f"{report['winner']['name']} {found.mean('winner')} ({interval_of(found.known('winner'))})"
    if report["baseline"] is None:
        return f"Confirmed: {first}, {what}."
    gap, lows = found.differences, ""
    if len(gap) > 1:
        low, high = t_interval(gap)
        lows = f" ({found.plain(low, True)} .. {found.plain(high, True)})"
    difference = (
        f"paired difference {found.plain(float(np.mean(gap)), True)}{found.unit}{lows}" if gap else "no draw on which both have a value"
    )
    second, same = f"{report['baseline']['name']} {found.mean('baseline')}", len(found.known("baseline")) == len(found.known("winner"))
    second += "" if same else f" ({interval_of(found.known('baseline'))})"
    second += "" if len(gap) in (0, len(found.known("winner"))) else f"; on the {len(gap)} draws that both have"
    return f"Confirmed: {first} against {second}; {difference}; {what}."


def interval_of(values: list[float]) -> str:
    """By how many draws: those that failed are in no mean."""
    return f"95 %, {len(values)} draws" if len(values) > 1 else f"n = {len(values)} draw{'' if values else 's'}: no interval"


def judgement(found: Confirmed) -> list[str]:
    report, gap = found.report, found.differences
    if report["baseline"] is None:
        asked = report["asked"]["baseline"]
        if asked is None:
            return ["No baseline was named, so the winner is reported alone."]
        if all(candidate["baseline"] is not None for candidate in report["candidates"]):
            return [f"No searched configuration was a candidate, so the baseline {asked} is reported alone."]
        return [
            f"The baseline {asked} itself won the selection: nothing that was searched did better, and there is no difference to report."
        ]
    if len(gap) < 2:
        return ["One draw shows no difference: there is no interval." if gap else "So there is no difference to report."]
    low, high = t_interval(gap)
    if low <= 0 <= high:
        return ["No difference was shown: the interval of the paired difference holds 0."]
    better, worse = ("winner", "baseline") if high < 0 else ("baseline", "winner")
    count = sum(value < 0 for value in gap) if high < 0 else sum(value > 0 for value in gap)
    lines = [
        f"The {better} is better than the {worse}: the interval of the difference lies on one side of 0; on {count} of {len(gap)} draws."
    ]
    if high < 0:
        return lines
    over = {candidate["trial"]: candidate.get("excess", 0.0) for candidate in report["candidates"]}
    if over.get(report["baseline"]["trial"], 0.0) > over.get(report["winner"]["trial"], 0.0):
        return [*lines, "In the selection it broke the study's constraint by more than the winner did, which counts before the metric."]
    return [*lines, "It was selected on other draws by its validation error, and these draws contradict that."]


def spread_of(found: Confirmed, role: str) -> str:
    values = found.known(role)
    if not values:
        return f"{found.report[role]['name']}: no training has a value."
    each = ", ".join(found.plain(value) for value in found.values(role))
    return (
        f"{found.report[role]['name']}, every draw: {each}{' %' if found.percent else ''}; "
        f"median {found.value_text(float(np.median(values)))}, range {found.plain(min(values))} to {found.plain(max(values))}, "
        f"n = {len(values)}."
    )


def accidents(found: Confirmed, role: str) -> list[str]:
    one = found.report[role]
    trained = list(zip(found.report["draws"], one["trainings"], found.values(role), strict=True))
    diverged = [draw for draw, t, value in trained if t["state"] == "PRUNED" and value is not None]
    left_out = [(draw, t["state"]) for draw, t, value in trained if value is None]
    lines = []
    if diverged:
        text = "counted with the last weights that were finite, or as guessing where there are none"
        lines.append(f"{one['name']} diverged on draw {', '.join(map(str, diverged))}: {text}.")
    if left_out and found.known(role):
        what = "failed" if all(state == "FAIL" for _, state in left_out) else "failed, or diverged without a value,"
        draws = ", ".join(str(draw) for draw, _ in left_out)
        lines.append(f"{one['name']} {what} on draw {draws}, which its mean leaves out: that may flatter it.")
    return lines


def uncertainty(share: float, num: int) -> str:
    """Of a share of wrong images, by the choice of the `num` images alone."""
    if share in (0.0, 1.0):  # all alike: their spread says nothing
        return f"up to {100 * (1 - 0.05 ** (1 / num)):.2g} points (95 %)"
    return f"{100 * math.sqrt(share * (1 - share) / num):.2f} points (one standard error)"


def test_error(found: Confirmed) -> list[str]:
    report, values = found.report, found.known("winner")
    text = f"The test set was read once, {report['num_test']:,} images, after the last training"
    if not found.percent or not values:
        return [f"{text}."]
    shared = report["difference_std_error_of_test_set"]
    text += f". The choice of its images makes the winner's error uncertain by {uncertainty(float(np.mean(values)), report['num_test'])}"
    text += f" and the difference by {found.plain(shared)}" if shared is not None else ""
    return [f"{text}; the intervals do not hold that."]


def selection(found: Confirmed) -> str:
    report = found.report
    num, search = len(report["candidates"]), report["search"]
    draws = len(report["candidates"][0]["selection"])
    how = "The only candidate, so nothing was selected; frozen"
    if draws:
        among = f"{num} candidate{'s' if num > 1 else ''} on {draws} {report['draw']}{'s' if draws > 1 else ''} from 100 on"
        won = report["candidates"][report["frozen"]["candidate"]]
        how_much = "break the study's constraint least" if breaks(won) else "keep the study's constraint on average"
        keeping = f" of those that {how_much}," if any(map(breaks, report["candidates"])) else ""
        how = f"Selected as the lowest mean validation metric{keeping} of {among}, and frozen"
    return (
        f"{how} on {report['frozen']['frozen']}; reported on {report['draw']}s from 200 on. "
        f"The search before it ran {search['trials']} trial{'s' * (search['trials'] > 1)}, {search['complete']} complete, and used "
        f"{report['num_validation']:,} validation {'labels' if found.percent else 'images'}{', as the selection did' if draws else ''}."
    )


def breaks(candidate: dict[str, Any]) -> bool:
    """The study's constraint, on average over the selection's draws."""
    return bool(candidate.get("excess", 0.0) > 0)


def fewer_labels_lines(found: Confirmed) -> list[str]:
    lines = []
    for fewer in found.report["fewer_labels"]:
        first, *rest = list(fewer["chosen"].items())
        others = f", trial {rest[0][0]} in {rest[0][1]:.0%}" if rest else ""
        more = f" and {len(rest) - 1} other{'s' if len(rest) > 2 else ''}" if len(rest) > 1 else ""
        lines.append(
            f"With {fewer['labels']:,} validation labels trial {first[0]} would have had the lowest number in {first[1]:.0%} of "
            f"{fewer['subsets']:,} random subsets{others}{more}: on average {100 * fewer['worse']:.2f} points worse on all "
            f"{found.report['num_validation']:,} than the trial that is lowest on them, in the worst twentieth "
            f"{100 * fewer['worse_95']:.2f} or more."
        )
    return lines


# ---- the page ----


def roles_of(found: Confirmed) -> list[str]:
    return [role for role in ("winner", "baseline") if found.report[role] is not None]


def picture(found: Confirmed, roles: list[str]) -> dict[str, Any]:
    """Every draw as a dot, joined where both trained on it; beside them each mean with its interval: where each stands in an SVG."""
    low, high = (bound([v for role in roles for v in found.known(role)], default=0.0) for bound in (min, max))
    means = {role: found.known(role) for role in roles if len(found.known(role)) > 1}
    low = min([low, *(t_interval(values)[0] for values in means.values())])
    high = max([high, *(t_interval(values)[1] for values in means.values())])
    at = lambda value: round(20 + 200 * (high - value) / (high - low or 1), 1)  # noqa: E731 - an error's height
    column = {role: 150 + 160 * index for index, role in enumerate(roles)}
    draws = []
    for values in zip(*(found.values(role) for role in roles), strict=True):
        draws.append([(column[role], at(value)) for role, value in zip(roles, values, strict=True) if value is not None])
    return {
        "width": 160 + 160 * len(roles),
        "marks": [(at(value), found.value_text(value)) for value in dict.fromkeys((low, high))],
        "draws": draws,
        "names": [(x, found.report[role]["name"]) for role, x in column.items()],
        "means": [
            (column[role] + 26, *map(at, t_interval(values)), at(float(np.mean(values)))) for role, values in means.items()
        ],  # x, bottom, top, mean
    }


def draw_table(found: Confirmed, roles: list[str]) -> dict[str, Any]:
    """A row a draw."""
    rows = []
    for draw, *values in zip(found.report["draws"], *(found.values(role) for role in roles), strict=True):
        cells = [str(draw), *map(found.value_text, values)]
        if len(roles) > 1:
            cells.append(found.plain(None if None in values else values[0] - values[1], True))
        rows.append(cells)
    head = ["draw", *(found.report[role]["name"] for role in roles), *(["difference"] if len(roles) > 1 else [])]
    return {"head": head, "rows": rows}


def selection_table(found: Confirmed) -> dict[str, Any] | None:
    """A row a candidate: (whether it won, its cells). None where nothing was selected."""
    draws = range(100, 100 + len(found.report["candidates"][0]["selection"]))
    if not draws:
        return None
    rows = []
    for index, one in enumerate(found.report["candidates"]):
        values = one["selection"]
        mean = None if None in values else float(np.mean(values))
        cells = [one["name"] + (", breaks the constraint" if breaks(one) else ""), *map(found.value_text, (one["search"], *values, mean))]
        rows.append((index == found.report["frozen"]["candidate"], cells))
    return {"head": ["candidate", "in the search", *(f"draw {draw}" for draw in draws), "mean"], "rows": rows}
