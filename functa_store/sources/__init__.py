"""Sources: what an archive offers so that it can become a functaset. Plug-ins import from here."""

from functa_store.sources.features import PER_CHANNEL as PER_CHANNEL
from functa_store.sources.features import FeatureSpec as FeatureSpec
from functa_store.sources.source import FileSource as FileSource
from functa_store.sources.source import Label as Label
from functa_store.sources.source import Reject as Reject
from functa_store.sources.source import Source as Source
from functa_store.sources.source import check_rejects as check_rejects
from functa_store.sources.source import check_source as check_source
from functa_store.sources.source import check_unchanged as check_unchanged
from functa_store.sources.source import label_problem as label_problem
from functa_store.sources.source import name_problem as name_problem
from functa_store.sources.splits import SPLITS as SPLITS
from functa_store.sources.splits import hold_out_every as hold_out_every
from functa_store.sources.splits import hold_out_last as hold_out_last
