"""The private names of Optuna that we use, and why. tests/study/test_optuna_private.py fails when a new version takes one away.

Nothing public decides which trials a sampler or a pruner sees. They are given a study, and ask it for trials by `get_trials` or
`_get_trials`; a pruner writes its marks through the study's `_storage`. So they are given a view of the study that answers to these
names: without the trials that they shall not see, and with a storage that keeps the marks instead of writing them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial


class View:
    """A study without some of its trials."""

    def __init__(self, study: Any, hidden: Callable[[FrozenTrial], bool]):
        self._study, self._hidden = study, hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=deepcopy, states=states) if not self._hidden(trial)]

    def _get_trials(self, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> list[FrozenTrial]:
        return self.get_trials(deepcopy, states)


class PruningView(View):
    """And its storage keeps the pruner's marks, in `marks`."""

    def __init__(self, study: Any, hidden: Callable[[FrozenTrial], bool]):
        super().__init__(study, hidden)
        self.marks: dict[str, Any] = {}

    @property
    def _storage(self) -> Any:
        return MarkCatcher(self._study._storage, self.marks)


class MarkCatcher:
    def __init__(self, storage: Any, marks: dict[str, Any]):
        self._wrapped, self._marks = storage, marks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._marks[key] = value
