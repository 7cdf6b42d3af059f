"""The atlas: which tissue lies at a point of the common template frame, learned by implicit networks."""
