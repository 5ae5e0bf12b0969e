"""A file for `ray up`: what is not filled in, what is not pinned, what Ray would refuse; and the end of the cluster that it made."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from aae.config import ConfigError, require
from aae.errors import one_line
from aae.tuning.cluster.ray_private import validated_cluster_config

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]*>")
MOVING = re.compile(r"latest|nightly", re.IGNORECASE)  # words for versions that are others tomorrow
TOKEN = "~/.ray/auth_token"
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR")
STOP_S = 90.0  # what a host may take to end its Ray; `ray stop` gives processes 16 s before it kills them
NO_CONNECTION = 255  # ssh's own exit code
# Ends this user's Ray on a host, and then prints what is left of it; the brackets keep pgrep from finding this very command.
STOP = (
    "for ray in ~/aae-sweep/.venv/bin/ray ray; do command -v $ray > /dev/null && $ray stop > /dev/null 2>&1 && break; done; "
    "pgrep -u $(id -u) -af '[r]ay/core/src/ray/|^[r]ay::|[r]ay/(dashboard|_private|autoscaler)/' || true"
)


def is_cluster_file(path: Path) -> bool:
    """A file for `ray up` names its provider; a sweep has no such block."""
    try:
        return isinstance(content := yaml.safe_load(path.read_text(encoding="utf-8")), dict) and "provider" in content
    except (OSError, ValueError, yaml.YAMLError):
        return False


def read_cluster_file(path: Path) -> dict[str, Any]:
    """The file as Ray reads it, nothing left to fill in. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({one_line(error)}); give a file for ray up, such as cluster.yaml") from None
    if not isinstance(content, dict) or not isinstance(content.get("provider"), dict):
        raise ConfigError(f"{path}: no file for ray up, it names no provider; start from cluster.yaml or clusters/aws.yaml")
    for block in ("auth", "file_mounts"):
        got = content.get(block, {})
        require(isinstance(got, dict), f"{path}: {block}", got, "give a block, as cluster.yaml has it, or leave the line out")
    for name, text in content.get("auth", {}).items():
        require(isinstance(text, str), f"{path}: auth.{name}", text, "give one text, as cluster.yaml has it, or leave the line out")
    left = [f"{name} ({where})" for where, text in texts_in(content) for name in PLACEHOLDER.findall(text)]
    if left:
        raise ConfigError(f"{path}: not filled in: {', '.join(dict.fromkeys(left))}")
    return content


def texts_in(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, text) of every text in plain data, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where, str(key)
            yield from texts_in(inner, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner, where)
    elif isinstance(value, str):
        yield where, value


def check_file(path: Path) -> dict[str, Any]:
    """What `ray up` would make of the file, as Ray prepares it. Starts nothing and asks no address. Raises ConfigError."""
    content = read_cluster_file(path)
    for where, text in texts_in(content):
        if word := MOVING.search(text):
            raise ConfigError(f"{path}: {where}: got {word.group()}, which is another version tomorrow; name the version")
    private_key = content.get("auth", {}).get("ssh_private_key")
    if private_key is not None and not Path(private_key).expanduser().is_file():
        raise ConfigError(f"{path}: auth.ssh_private_key: got {private_key}; there is no such file")
    if TOKEN in content.get("file_mounts", {}).values():
        token = Path(TOKEN).expanduser()
        if not token.is_file():
            raise ConfigError(
                f"{path}: file_mounts: there is no {TOKEN} yet; make one: .venv/bin/ray get-auth-token --generate > /dev/null"
            )
        if token.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{TOKEN}: others on this machine can read it; chmod 600 {TOKEN}")
    said = io.StringIO()  # Ray prints why it gives up, and raises without it
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return validated_cluster_config(content)
    except Exception as error:  # a schema's, a command line's, an assertion: all of them refuse the file
        why = one_line(error) or " ".join(said.getvalue().split())
        raise ConfigError(f"{path}: Ray refuses it: {why}") from None


@dataclass(frozen=True)
class Hosts:
    """Machines of one's own, as the file has them."""

    user: str
    key: str
    head: str
    workers: list[str]

    def ssh(self, host: str, command: str) -> subprocess.CompletedProcess[str]:
        """From here, or else by way of the head: the workers may be on a network of their own."""
        login = [*SSH, "-i", str(Path(self.key).expanduser())]
        done = run_quietly([*login, f"{self.user}@{host}", command])
        if done.returncode == NO_CONNECTION and host != self.head:
            way = shlex.join([*login, "-W", "%h:%p", f"{self.user}@{self.head}"])
            again = run_quietly([*login, "-o", f"ProxyCommand={way}", f"{self.user}@{host}", command])
            done = again if again.returncode != NO_CONNECTION else done
        return done


def run_quietly(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=STOP_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, NO_CONNECTION, "", f"no answer within {STOP_S:.0f} s")


def stop_cluster(path: Path, console: Console) -> int:
    """Ends the cluster's Ray on every host and looks whether it is gone. `ray down` leaves it on the workers of a local provider.
    Returns the exit code: 1 where something is left or a host could not be asked. Raises ConfigError."""
    content = read_cluster_file(path)
    if content["provider"].get("type") != "local":  # machines that are ended, not asked to stop
        return int(subprocess.run([str(Path(sys.executable).with_name("ray")), "down", "--yes", str(path)]).returncode != 0)
    try:
        auth, provider = content["auth"], content["provider"]
        hosts = Hosts(auth["ssh_user"], auth["ssh_private_key"], provider["head_ip"], list(provider["worker_ips"]))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {one_line(error)}: needed to reach the machines; see cluster.yaml") from None
    # The head first: its autoscaler would start again what goes away from under it.
    outcomes = {hosts.head: hosts.ssh(hosts.head, STOP)}
    with ThreadPoolExecutor(max(1, min(32, len(hosts.workers)))) as pool:
        outcomes |= dict(zip(hosts.workers, pool.map(lambda host: hosts.ssh(host, STOP), hosts.workers), strict=True))
    for host, done in outcomes.items():
        left = done.stdout.strip().splitlines()
        if done.returncode != 0:
            text = f"{host}: could not be asked ({(done.stderr.strip().splitlines() or ['ssh failed'])[-1]})"
        elif left:
            text = f"{host}: {len(left)} Ray processes are left, the first is {left[0]}"
        else:
            text = f"{host}: no Ray process is left"
        console.print(text, soft_wrap=True)
    return int(any(done.returncode != 0 or done.stdout.strip() for done in outcomes.values()))
