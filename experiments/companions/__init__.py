"""Studies of training: regularizers, learning rules and regimes, from three works that stand beside the thesis."""
