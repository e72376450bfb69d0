"""A conversion to look at: photographs that come with scikit-image, in CelebA's layout, as a functaset."""
