"""Settings of every test."""

import hypothesis

# A first example pays for compilation, which no deadline can know.
hypothesis.settings.register_profile("functa", deadline=None)
hypothesis.settings.load_profile("functa")
