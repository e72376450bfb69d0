"""Which observer looks at the examples of a domain?"""

from collections.abc import Callable, Mapping
from typing import Any

from functa_store.domains import Domain
from functa_store.errors import ConfigError
from functa_store.grids import CellGrid
from functa_store.learn.observing import GridObserver, Observer
from functa_store.learn.rays import RayObserver
from functa_store.scenes import SceneVolume
from functa_store.sources import FeatureSpec
from functa_store.sphere import SphereGrid

OBSERVERS: Mapping[type[Domain], Callable[[Any, FeatureSpec], Observer]] = {
    CellGrid: GridObserver,
    SphereGrid: GridObserver,
    SceneVolume: RayObserver,
}


def observer_of(domain: Domain, spec: FeatureSpec) -> Observer:
    """How examples of a domain are looked at.

    Args:
        domain: Where they are.
        spec: What their values mean.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    check_domain(domain)
    return OBSERVERS[type(domain)](domain, spec)


def shares_grid(domain: Domain) -> bool:
    """Whether all examples of a domain are values at the same points; makes none of these points.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    check_domain(domain)
    return OBSERVERS[type(domain)] is GridObserver


def check_domain(domain: Domain) -> None:
    """Refuse a kind of domain that nothing looks at.

    Raises:
        ConfigError: If it is such a one.
    """
    if (kind := type(domain)) not in OBSERVERS:
        known = ", ".join(known.__name__ for known in OBSERVERS)
        raise ConfigError(f"the domain is a {kind.__name__}, expected one of {known}")
