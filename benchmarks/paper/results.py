"""Resumable results: a JSON file per measured cell, and the functasets and pictures that belong to them."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import functa_store
from functa_store.config import ConvertConfig, differences
from functa_store.conversion.agreement import differences_from_conversion
from functa_store.errors import ConfigError, StoreExistsError
from functa_store.progress import Report, silent
from functa_store.sources.source import Source
from functa_store.support.atomic_output import replacing

Figures = dict[str, Any]
"""What was measured, JSON-ready."""


class Results:
    """The folder of a run: `cells/NAME.json`, `stores/NAME.functa`, and what the page shows.

    Args:
        folder: Made if it is not there.
        report: Told of the progress of conversions.
    """

    def __init__(self, folder: Path, report: Report = silent) -> None:
        self.folder, self._report = folder, report
        for part in ("cells", "stores", "networks"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def cell(self, name: str, settings: Mapping[str, Any], measure: Callable[[], Figures]) -> Figures:
        """Figures of a cell: those of an earlier run, or else measured now and kept.

        Args:
            name: Of its file.
            settings: JSON-ready; everything that decides the figures, apart from the archives.
            measure: Takes what time it takes. `cpu_seconds` of this process are added to what it returns.

        Raises:
            ConfigError: If the cell was measured with other settings.
        """
        path, settings = self.folder / "cells" / f"{name}.json", json.loads(json.dumps(settings))
        if path.exists():
            kept = json.loads(path.read_text())
            if found := list(differences(kept["settings"], settings)):
                raise ConfigError(
                    f"{path}: was measured with other settings: {'; '.join(found[:5])}. Delete it to measure it again, "
                    "or name another folder by --out."
                )
            return kept["figures"]
        start = time.process_time()
        figures = measure()
        figures["cpu_seconds"] = round(time.process_time() - start, 1)
        with replacing(path) as part:
            part.write_text(json.dumps({"settings": settings, "figures": figures}, indent=1) + "\n")
        return figures

    def functaset(self, name: str, source: Source, config: ConvertConfig) -> functa_store.Functaset:
        """A functaset, converted if it is not there yet, or taken up where its conversion stopped.

        Raises:
            ConfigError: If there is one of another archive or configuration.
        """
        path = self.folder / "stores" / f"{name}.functa"
        with contextlib.suppress(StoreExistsError):  # complete, if it opens
            functa_store.convert(source, path, config, report=self._report)
        functaset = functa_store.open(path)
        if found := differences_from_conversion(functaset.spec, source, config, config.modulation_dtype):
            raise ConfigError(
                f"{path}: was converted in another way: {'; '.join(found[:5])}. Delete it, or name another folder by "
                "--out."
            )
        return functaset

    def network(self, name: str) -> Path:
        """Where the weights of a trained network are."""
        return self.folder / "networks" / f"{name}.pt"

    def picture(self, name: str) -> Path:
        """Where a picture goes."""
        return self.folder / f"{name}.png"

    def relative(self, path: Path) -> str:
        """A path as the page refers to it."""
        return os.path.relpath(path, self.folder)
