"""Training the network prior on the known world: data, networks, the loop, its files, its score."""
