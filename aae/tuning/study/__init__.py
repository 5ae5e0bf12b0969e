"""The one truth of a sweep: an Optuna study in a journal, its lock, and what samplers and pruners see of it."""
