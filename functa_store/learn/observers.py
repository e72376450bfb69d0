"""Which observer looks at the examples of a domain."""

from functa_store.config import NetworkConfig
from functa_store.domains.domain import KINDS, Domain, check_grid
from functa_store.errors import ConfigError
from functa_store.learn.grid_observers import CellObserver, GridObserver
from functa_store.learn.observer import Observer
from functa_store.learn.ray_observer import RayObserver
from functa_store.nets.cell_lookup import CellLookup
from functa_store.sources.features import FeatureSpec


def observer_of(domain: Domain, spec: FeatureSpec, network: NetworkConfig) -> Observer:
    """How examples of a domain are looked at.

    Args:
        domain: Where they are.
        spec: What their values mean.
        network: The network that is fitted to them.

    Raises:
        ConfigError: If nothing looks at this kind of domain, or a grid of modulations has other axes.
    """
    check_domain(domain)
    check_grid(domain, network)
    if domain.scene is not None:
        return RayObserver(domain.scene, spec)
    lookup = CellLookup.of(network, domain.closed)
    return GridObserver(domain, spec) if lookup is None else CellObserver(domain, spec, network, lookup)


def shares_grid(domain: Domain) -> bool:
    """Whether all examples of a domain are values at the same points; makes none of these points.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    check_domain(domain)
    return domain.scene is None


def check_domain(domain: Domain) -> None:
    """Refuse a kind of domain that nothing looks at.

    Raises:
        ConfigError: If it is such a one.
    """
    if (kind := type(domain)) not in KINDS:
        known = ", ".join(known.__name__ for known in KINDS)
        raise ConfigError(f"the domain is a {kind.__name__}, expected one of {known}")
