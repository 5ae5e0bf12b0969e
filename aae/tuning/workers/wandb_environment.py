"""What W&B finds in the environment, before the first trial: whether there is a key, whose names and ids count, what it would refuse.

The mode, project, entity, group and tags are the user's. A run's id and name are the study's: those that `wandb agent` or a job around
this one leaves would put all trials into one run.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from aae.errors import require

Mode = Literal["online", "offline", "disabled"]
MODES: dict[str, Mode] = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")  # of the public service: its keys stand in a netrc under either
OURS = ("SWEEP_ID", "RUN_ID", "RESUME", "NAME", "RUN_NAME", "RESUME_FROM", "FORK_FROM", "SWEEP_PARAM_PATH", "LAUNCH")  # after WANDB_
PASSED_ON = ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_RUN_GROUP", "WANDB_TAGS")  # to workers on other nodes
PROJECT_CHARACTERS, PROJECT_LENGTH, TAG_LENGTH = "/\\#?%:", 128, 64  # what W&B refuses in a project's name; and where it ends


def describe_study(name: str, run_id: str, run: Path, metric: str, baselines: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """What a worker must know of the study to open a run of it. Says what of the environment is not followed. Raises ConfigError for
    what W&B would refuse, of every run."""
    forget_other_runs(say)
    mode = choose_mode(say)
    if mode != "disabled":
        refuse_unfit_names()
    return {
        "name": name,
        "id": run_id,
        "run": str(run.resolve()),
        "command_folder": str(Path.cwd()),
        "metric": metric,
        "wandb_mode": mode,
        "environment": {key: os.environ[key] for key in PASSED_ON if key in os.environ},
        "baselines": {f"{number:04d}": baseline for number, baseline in enumerate(baselines)},
    }


def forget_other_runs(say: Callable[[str], None] | None = None) -> None:
    """Takes ids and names of other runs out of the environment, before W&B or Ray reads it."""
    found = [f"WANDB_{name}" for name in OURS if os.environ.pop(f"WANDB_{name}", None) is not None]
    if found and say is not None:
        say(f"W&B: {', '.join(found)} of the environment is not followed: every trial has a run of its own")


def choose_mode(say: Callable[[str], None]) -> Mode:
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on"):
        return "disabled"
    asked = (os.environ.get("WANDB_MODE") or mode_of_settings()).lower()
    mode: Mode = MODES[asked] if asked in MODES else "online" if has_key() else "offline"
    if mode == "online" and not has_key() and not wandb_has_key():
        say(f"W&B: the mode is {asked}, and there is no key: the runs are offline; wandb login, or WANDB_API_KEY, gives one")
        os.environ["WANDB_MODE"] = "offline"  # so that it is said once
        return "offline"
    return mode


def mode_of_settings() -> str:
    """What `wandb disabled` and `wandb offline` leave in W&B's own files, the one in this folder before the user's. wandb.setup() says
    the same and starts its service, which workers would inherit."""
    import wandb

    own = os.path.join(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb", "settings")
    return wandb.Settings(settings_system=os.path.expanduser(own)).read_system_settings().all().get("mode", "")


def has_key() -> bool:
    """By a look at the usual places."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    base = os.environ.get("WANDB_BASE_URL")
    host = urlsplit(base).netloc if base else HOSTS[0]
    try:
        # By its path: of the default file Python refuses one that others can read, which W&B does not.
        known = netrc.netrc(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(each) is not None for each in (HOSTS if host in HOSTS else (host,)))


def wandb_has_key() -> bool:
    """By W&B's own word, which reads its own files too. Asks no service, and nobody at the terminal."""
    never_ask()
    try:
        import wandb

        return bool(wandb.login(prompt=False, verify=False))
    except Exception:  # a key that is none
        return False


def never_ask() -> None:
    """W&B asks for a key on a terminal, where a live table is drawn and nobody may sit; silent, it does not."""
    os.environ["WANDB_SILENT"] = "true"


def refuse_unfit_names() -> None:
    """Raises ConfigError where W&B would refuse every run, the offline ones too."""
    project = os.environ.get("WANDB_PROJECT", "")
    entity, slash, rest = project.partition("/")
    way_out = f"set WANDB_ENTITY={entity} and WANDB_PROJECT={rest}" if slash else "give another"
    want = f"{way_out}: a project's name has at most {PROJECT_LENGTH} characters, and none of {PROJECT_CHARACTERS}"
    fits = len(project) <= PROJECT_LENGTH and not set(project) & set(PROJECT_CHARACTERS)
    require(fits, "WANDB_PROJECT", project, want)
    tags = user_tags()
    for tag in tags:
        require(len(tag) <= TAG_LENGTH, "WANDB_TAGS", tag, f"a tag has at most {TAG_LENGTH} characters: give a shorter one")
    if "WANDB_TAGS" in os.environ:  # W&B reads it itself, and refuses all for an empty one
        os.environ["WANDB_TAGS"] = ",".join(tags)
        if not tags:
            del os.environ["WANDB_TAGS"]


def user_tags() -> list[str]:
    return [tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag.strip()]
