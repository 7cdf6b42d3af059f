"""Training of the heart's ruler: on in-silico hearts with exact labels, then on patients with contours of one cavity."""
