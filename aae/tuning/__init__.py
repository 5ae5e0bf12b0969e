"""The sweep around `aae.train`: the only folder that imports ray, wandb and optuna."""
