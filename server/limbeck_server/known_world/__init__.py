"""A small world of shapes whose geometry, colours and pictures are known exactly: trains priors and scores results."""
