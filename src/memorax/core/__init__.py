"""What things are: types, spaces, distributions, registries."""
