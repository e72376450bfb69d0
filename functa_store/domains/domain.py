"""The kinds of domain, as a union, and their decoding from JSON.

The loops, the store and the readers ask only this of a domain:

- `kind`, `axes`, `resolution`: what tells kinds apart in a store, the names of the grid's axes, its native points;
- `num_axes`, `num_inputs`, `num_points`, `quantity`: numbers per position, numbers that the base network takes of it,
  points of the native grid, and what the features are called;
- `head`: what the network's last layer must mean;
- `resolve`, `axis_coords`, `coords`, `points`: positions of a grid at any resolution, in any region;
- `random_positions`: positions chosen uniformly over the domain;
- `inputs`: what the base network takes of positions;
- `masked`, `missing`: whether and where there is no value;
- `check_positions`, `axis_attributes`: which positions there are, and what they mean;
- `observed`, `num_columns`: the shape of what a source hands out of an example;
- `weights`: what each point of it counts.
"""

from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid

Domain = CellGrid | SphereGrid | SceneVolume
