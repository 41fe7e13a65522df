"""Keeps the memory of the process that runs Tune from growing with iterations and trials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.tune.trainable.metadata import _TrainingRunMetadata


@contextlib.contextmanager
def forgetting_results() -> Iterator[None]:
    """Makes Tune let go of the result of an iteration when it has been handled.

    Ray 2.60 keeps the futures of all calls of an actor until the actor ends, and with each of them
    its result, of some 15 KB. Of every number in it Tune also keeps extremes, means and the newest
    values, 160 KB for each trial until the end of the run, for an analysis that nobody asks for.
    """
    resolved, update_metric = (
        RayActorManager._actor_task_resolved,
        _TrainingRunMetadata.update_metric,
    )

    def resolve(self: Any, tracked_actor_task: Any, result: Any) -> None:
        futures = self._tracked_actors_to_task_futures[tracked_actor_task._tracked_actor]
        futures.intersection_update(self._actor_task_events.get_futures())
        resolved(self, tracked_actor_task, result)

    RayActorManager._actor_task_resolved = resolve
    _TrainingRunMetadata.update_metric = lambda *_, **__: None
    try:
        yield
    finally:
        RayActorManager._actor_task_resolved = resolved
        _TrainingRunMetadata.update_metric = update_metric
