"""Where the object stands and from where it is looked at: cameras, paths and orbit boxes -> the protocol's rig."""
