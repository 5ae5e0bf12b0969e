"""A study replayed on surrogates of its own curves: what another sampler, other rungs or another budget would have found."""
