"""Constants of the cost model, fitted to measured plans."""
