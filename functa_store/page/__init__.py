"""The page that shows a functaset in a browser: as a static site, or served on this machine."""
