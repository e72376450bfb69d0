"""The comparison of representations runs to its end, and its figures are those of what it says."""

import dataclasses

import numpy as np
import pytest

from benchmarks import representation
from examples.digits import CONFIG, digits_source
from functa_store.config import FitConfig

pytest.importorskip("sklearn")


@pytest.mark.slow
def test_every_way_is_fitted_classified_and_generated_from(monkeypatch):
    monkeypatch.setattr(representation, "FIT_STEPS", (5,))
    monkeypatch.setattr(representation, "WEIGHTS", (0.0, 1.0))
    monkeypatch.setattr(representation, "NOISES", (0.1,))
    outer = dataclasses.replace(CONFIG.outer, num_steps=60)
    config = dataclasses.replace(CONFIG, outer=outer, fit=FitConfig(num_steps=5, tuning_steps=10))

    facts = representation.compare(digits_source(200), config, "digit", seeds=2, steps=60, diffusion_steps=20)

    rows = {row["way"]: row for row in facts["rows"]}
    assert list(rows) == [
        "3 learned steps", "5 tuned steps", "5 tuned steps, int8", "5 tuned steps, one scale for all numbers",
        "5 tuned steps, as they are", "5 tuned steps, noise of 0.1 in training", "Adam, Gaussian prior of 0",
        "Adam, Gaussian prior of 1",
    ]  # fmt: skip
    assert (facts["train"], facts["test"]) == (160, 40)
    assert rows["5 tuned steps"]["psnr"] > rows["3 learned steps"]["psnr"]
    assert rows["Adam, Gaussian prior of 1"]["psnr"] < rows["Adam, Gaussian prior of 0"]["psnr"] - 0.3
    assert np.isclose(rows["5 tuned steps, int8"]["psnr"], rows["5 tuned steps"]["psnr"], atol=0.1)
    generated = {name for name, row in rows.items() if "told_apart" in row}
    assert generated == {name for name in rows if "noise" not in name}, "noise changes nothing of modulations"
    assert np.mean(rows["5 tuned steps"]["by_seed"]) > 0.3, "ten classes"
    assert "| Adam, Gaussian prior of 1 |" in representation.markdown(facts)
