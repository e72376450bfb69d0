"""What would a conversion do, and what would it cost?"""

from typing import Any

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.conversion import check_conversion
from functa_store.learn.cost import estimate_seconds
from functa_store.learn.fit import Fit
from functa_store.learn.parallel import use_all_cores
from functa_store.nets.weights import structure, to_weights
from functa_store.sources import Source
from functa_store.store.layout import choose_layout


def plan(source: Source, config: ConvertConfig) -> dict[str, Any]:
    """What a conversion would do, without doing it.

    Args:
        source: The examples.
        config: The conversion.

    Returns:
        JSON-ready: `examples` by split, `resolution`, `base_parameters`, `modulation_size`,
        `rows_per_shard`, `store_bytes`, and estimates of the `learning_seconds` (the time budget, if
        there is one) and `fitting_seconds` on this machine, from the cost model.
    """
    check_conversion(source, config)
    use_all_cores()
    network, num_examples = config.network, len(source.ids)
    graph, state = structure(network, source.domain.num_inputs, source.features.num_channels)
    parameters = sum(int(np.prod(array.shape)) for array in to_weights(state).values())
    metrics = source.features.columns
    weight_bytes = np.dtype(config.base_dtype).itemsize
    inner_loop = 2 * config.fit.num_steps * network.modulation_size
    row_bytes = network.modulation_size * np.dtype(config.modulation_dtype).itemsize
    layout = choose_layout(num_examples, row_bytes, config.rows_per_shard)
    rows = len(layout.shards(num_examples)) * layout.rows_per_shard
    learning, fitting = estimate_seconds(config, source, Fit(graph, config, source))
    return {
        "examples": {str(name): int(np.sum(source.split == name)) for name in np.unique(source.split)},
        "resolution": list(source.domain.resolution),
        "base_parameters": parameters,
        "modulation_size": network.modulation_size,
        "rows_per_shard": layout.rows_per_shard,
        "store_bytes": weight_bytes * parameters + 4 * inner_loop + rows * (row_bytes + 4 * (1 + len(metrics))),
        "learning_seconds": config.outer.time_budget or learning,
        "fitting_seconds": fitting,
    }
