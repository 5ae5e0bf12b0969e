"""The sweep around `aae.train`: the only folder that imports ray, wandb and optuna."""

import os
from pathlib import Path

# Read when ray is imported. What Ray starts itself asks for the token by default; joining it needs to be told.
if Path("~/.ray/auth_token").expanduser().exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")
