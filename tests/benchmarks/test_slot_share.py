"""The share of slot time on sweeps whose shares are known, and what has no share."""

from datetime import datetime, timedelta
from pathlib import Path

from optuna.trial import TrialState, create_trial

from benchmarks import slot_share

QUICK = Path(__file__).resolve().parents[2] / "records" / "quick"


def trial(start, end):
    made = create_trial(state=TrialState.COMPLETE, value=0.1)
    made.datetime_start, made.datetime_complete = (datetime(2026, 1, 1) + timedelta(seconds=s) for s in (start, end))
    return made


def test_two_slots_without_a_gap_but_for_the_tail():
    """Slot A: 0-30, 30-60, 60-100; slot B: 0-40, 40-80 and nothing more. 180 s of training in 200 s of slots."""
    trials = [trial(0, 30), trial(0, 40), trial(30, 60), trial(40, 80), trial(60, 100)]
    found = slot_share.slot_share(trials, 180, 2)
    assert (found["slot_s"], found["tail_s"]) == (200, 20)
    assert (found["share"], found["share_without_tail"]) == (0.9, 1.0)


def test_a_gap_between_two_trials_is_counted_in_both():
    found = slot_share.slot_share([trial(0, 40), trial(50, 100)], 90, 1)
    assert (found["share"], found["share_without_tail"]) == (0.9, 0.9)


def test_a_recorded_sweep_has_a_share(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slot_share, "RECORDS", tmp_path / "records.jsonl")
    assert slot_share.main(["--run", str(QUICK)]) == 0
    assert (tmp_path / "records.jsonl").read_text().startswith('{"benchmark": "slot_share", "trials": 14')
    assert 0.3 < slot_share.of_run(QUICK, 2)["share"] < slot_share.of_run(QUICK, 2)["share_without_tail"] < 1


def test_a_folder_that_is_no_sweep_is_refused(tmp_path, capsys):
    assert slot_share.main(["--run", str(tmp_path)]) == 2
    assert "study.journal" in capsys.readouterr().err
