"""A gallery of a few samples: what every method did to the sample, the network and the other images."""
