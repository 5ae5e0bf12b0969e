"""Records: a finished run's text files, without the machine's name and paths, never overwritten by others."""

import json

import pytest

from aae.runs import TrialFolder
from aae.tuning.study.lock import DriverLock
from benchmarks.modes import tables, with_table
from benchmarks.record import main

ROWS = [{"epoch": 1, "val/error": 0.2}, {"epoch": 2, "val/error": 0.1}]
MANIFEST = {
    "command": ["python", "-m", "aae.train", "sweeps/semi.yaml", "--output", "/data/user/runs/one", "data.folder=/data/user/mnist"],
    "code": {"commit": "0123abc", "diff": ""},
    "host": "node17",
    "device": "a processor",
}


def make_training(folder, rows=ROWS, attempt=0):
    path = folder / f"attempt-{attempt}"
    path.mkdir(parents=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "checkpoint.pt").write_bytes(b"\x80\xff")
    (folder / "config.yaml").write_text("data:\n  folder: null\n")
    (folder / "labels.json").write_text("[4, 7]\n")
    (folder / "result.json").write_text('{"state": "COMPLETE"}\n')
    return folder


@pytest.fixture
def training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_training(tmp_path / "runs" / "one")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "study"
    make_training(folder / "trials" / "0000", ROWS[:1])
    make_training(folder / "trials" / "0000", attempt=10)
    make_training(folder / "trials" / "0001", attempt=2)
    (folder / "sweep.yaml").write_text("study: {name: study, folder: runs}\n")
    (folder / "study.journal").write_text('{"op_code": 0}\n')
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"id": "5f"}))
    for other in ("report/index.html", "wandb/offline/run.wandb", ".lock"):
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_text("node17")
    return folder


def names(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_training_is_kept_without_host_paths_and_checkpoint(training, tmp_path):
    assert main([str(training), "semi-one"]) == 0
    record = tmp_path / "records" / "semi-one"
    assert names(record) == {"manifest.json", "config.yaml", "labels.json", "result.json", "attempt-0/metrics.jsonl"}
    assert TrialFolder(record).rows() == ROWS
    made = json.loads((record / "manifest.json").read_text())
    assert made == {
        "command": ["python", "-m", "aae.train", "sweeps/semi.yaml", "--output", "one", "data.folder=mnist"],
        "code": MANIFEST["code"],
        "device": "a processor",
    }


def test_of_a_sweep_every_trials_highest_attempt_is_kept_and_nothing_else(sweep, tmp_path):
    (sweep / "forecast.json").write_text('{"invocations": [272.0]}\n')
    assert main([str(sweep), "quick"]) == 0
    trial = {"config.yaml", "labels.json", "result.json"}
    assert names(tmp_path / "records" / "quick") == {
        *("manifest.json", "sweep.yaml", "forecast.json", "study.journal"),
        *("trials/0000/attempt-10/metrics.jsonl", "trials/0001/attempt-2/metrics.jsonl"),
        *(f"trials/{number}/{name}" for number in ("0000", "0001") for name in trial),
    }


def test_the_same_record_twice_is_one_and_another_is_refused(training, tmp_path, capsys):
    assert main([str(training), "semi-one"]) == main([str(training), "semi-one"]) == 0
    (training / "result.json").write_text('{"state": "FAIL"}\n')
    assert main([str(training), "semi-one"]) == 2
    assert "result.json" in capsys.readouterr().err
    assert (tmp_path / "records" / "semi-one" / "result.json").read_text() == '{"state": "COMPLETE"}\n'


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        (lambda folder: (folder / "result.json").unlink(), "one", "not finished"),
        (lambda folder: (folder / "config.yaml").unlink(), "one", "neither a sweep nor a training"),
        (lambda folder: (folder / "manifest.json").unlink(), "one", "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "one", "manifest.json: broken"),
        (lambda folder: (folder / "labels.json").write_bytes(b"\xff"), "one", "labels.json: not text"),
        (lambda folder: (folder / "config.yaml").write_text("folder: /data/user/x.npz\n"), "one", "names /data/user/x.npz"),
        (lambda folder: None, "../one", "NAME"),
        (lambda folder: None, "a/b", "NAME"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(training, tmp_path, capsys, change, name, says):
    change(training)
    assert main([str(training), name]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not (tmp_path / "records").exists()


def test_a_search_that_was_stopped_is_kept_as_it_is_and_one_that_runs_is_refused(sweep, tmp_path, capsys):
    (sweep / "trials" / "0001" / "result.json").unlink()
    lock = DriverLock(sweep)
    assert main([str(sweep), "quick"]) == 2
    assert "a sweep that is running" in capsys.readouterr().err and not (tmp_path / "records").exists()
    lock.release()
    assert main([str(sweep), "quick"]) == 0
    assert "trials/0001/attempt-2/metrics.jsonl" in names(tmp_path / "records" / "quick")


def test_a_record_keeps_the_confirmation_with_its_report(sweep, tmp_path):
    own = sweep / "confirm"
    make_training(own / "trials" / "0000")
    (own / "study.journal").write_text('{"op_code": 0}\n')
    (own / "manifest.json").write_text(json.dumps(MANIFEST))
    assert main([str(sweep), "before"]) == 0  # not finished: left out
    assert not any(name.startswith("confirm/") for name in names(tmp_path / "records" / "before"))
    (own / "report.json").write_text('{"metric": "test/error"}\n')
    assert main([str(sweep), "confirmed"]) == 0
    record = tmp_path / "records" / "confirmed"
    kept = {name for name in names(record) if name.startswith("confirm/")}
    folder = "confirm/trials/0000"
    trained = {f"{folder}/{name}" for name in ("config.yaml", "labels.json", "result.json", "attempt-0/metrics.jsonl")}
    assert kept == trained | {"confirm/manifest.json", "confirm/study.journal", "confirm/report.json"}
    assert "node17" not in (record / "confirm" / "manifest.json").read_text()


def test_of_a_confirmation_every_training_must_be_finished(sweep, tmp_path):
    (sweep / "trials" / "0001" / "result.json").unlink()
    make_training(sweep / "confirm" / "trials" / "0000")
    for name, text in (("study.journal", '{"op_code": 0}\n'), ("manifest.json", json.dumps(MANIFEST)), ("report.json", "{}\n")):
        (sweep / "confirm" / name).write_text(text)
    assert main([str(sweep), "confirmed"]) == 0
    assert {"trials/0001/attempt-2/metrics.jsonl", "confirm/report.json"} <= names(tmp_path / "records" / "confirmed")
    (sweep / "confirm" / "trials" / "0000" / "result.json").unlink()
    assert main([str(sweep), "half"]) == 2


def test_the_tables_of_modes_are_those_of_the_records():
    made = tables()
    assert len(made) == 2
    for page, (table, _) in made.items():
        text, first = page.read_text(), table.splitlines()[2].split(" | ")[0]
        assert table in text
        assert with_table(text.replace(first, "| unlikely"), table) == text
