"""Ray Tune's side: the pool of workers, what it hands out, a trial, the rehearsal, a W&B run."""
