"""A kill at an exact place, in whatever Python process of a sweep comes there: on PYTHONPATH for tests/faults.py alone.

AAE_TEST_FAULT: {"place": one of PLACES, "nth": which time in a process, "once": a file that is made when it has happened}, or
{"clock_s": seconds by which the driver's time.time is wrong}. The interpreter's own audit events say where the process is, so
the product has no hook. The driver, the first process, is killed; so is the worker that came there.
"""

import json
import os
import signal
import sys
import time

PLACES = {  # (audit event, how its path ends or what it holds)
    "journal append": ("open", "/study.journal"),
    "row append": ("open", "/metrics.jsonl"),
    "checkpoint": ("os.rename", "/.checkpoint.pt."),
    "checkpoint to report": ("os.remove", "/.checkpoint.pt."),
    "report": ("open", "/report/"),
}


def install(fault: dict) -> None:
    driver = int(os.environ.setdefault("AAE_TEST_DRIVER", str(os.getpid())))
    if "clock_s" in fault:
        if driver == os.getpid():
            now = time.time
            time.time = lambda: now() + fault["clock_s"]
        return
    wanted, part = PLACES[fault["place"]]
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        if event != wanted or not isinstance(args[0], str | os.PathLike) or part not in os.fspath(args[0]):
            return
        path = os.fspath(args[0])
        if event == "open" and not set(str(args[1])) & set("aw"):
            return
        seen += 1
        if seen != fault["nth"]:
            return
        try:
            os.close(os.open(fault["once"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if fault["place"].endswith("append"):  # half a line, as a kill inside the write leaves it
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, b'{"op_code": 8, "wor')
        elif fault["place"] == "checkpoint":
            os.truncate(path, os.path.getsize(path) // 2)
        os.kill(driver, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if "AAE_TEST_FAULT" in os.environ:
    install(json.loads(os.environ["AAE_TEST_FAULT"]))
