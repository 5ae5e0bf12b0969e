"""The sweep around `aae.train`: the only folder that imports ray, wandb and optuna."""

import os

# Read when ray is imported. What Ray starts itself asks for the token by default; joining it needs to be told.
if os.path.exists(os.path.expanduser("~/.ray/auth_token")):
    os.environ.setdefault("RAY_AUTH_MODE", "token")
# Under `uv run` Ray would start its workers by uv, in a copy of the working folder: they hang there, or find no code.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
