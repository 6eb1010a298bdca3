"""Loads the engine of a model's id: finds its files, estimates its memory, loads it."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace

from conduit_nb.lmlite.config import EngineConfig, ModelKey
from conduit_nb.lmlite.convert import converted
from conduit_nb.lmlite.devices import Devices, release_unused
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.log import log_event
from conduit_nb.lmlite.memory_budget import LoadOptions, estimate
from conduit_nb.lmlite.placement import Placement
from conduit_nb.lmlite.pool import ResolvedModel
from conduit_nb.models.files import Progress
from conduit_nb.models.hub import find_model


class EngineLoader:
    """Loads engines by one configuration, on the devices that there are."""

    def __init__(self, config: EngineConfig, devices: Devices) -> None:
        self._config = config
        self._devices = devices
        self.kind = devices.kind

    def budgets(self) -> Mapping[str, int]:
        """Return what the models on each device may take together, in bytes."""
        return self._devices.budgets()

    def find(self, key: ModelKey, max_model_len: int | None, progress: Progress) -> ResolvedModel:
        """Return the model's folder, fetching what is not here, and what the model needs."""
        files = find_model(key.model_id, revision=key.revision, progress=progress)
        folder = converted(files, progress=progress)
        options = LoadOptions(
            device=self.kind,
            dtype=key.dtype,
            quantization=key.quantization,
            max_model_len=max_model_len,
            max_concurrency=self._config.max_concurrency,
        )
        return ResolvedModel(folder=folder, estimate=estimate(key.model_id, folder, options))

    def load(self, key: ModelKey, found: ResolvedModel, placement: Placement) -> Engine:
        """Load a replica of the model at its placement."""
        config = replace(
            self._config,
            device=placement.device,
            dtype=key.dtype,
            quantization=key.quantization,
            cache_bytes=found.estimate.cache_bytes(placement.cache_bytes),
        )
        engine = Engine.load(found.folder, config)
        log_event(
            "loaded",
            model=key.model_id,
            dtype=engine.dtype,
            device=engine.device,
            attention=engine.attention,
            planned_mib=placement.bytes >> 20,
        )
        return engine

    def release(self) -> None:
        """Give back the memory of engines that are gone."""
        gc.collect()
        release_unused(self._devices.names)
