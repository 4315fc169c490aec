"""Training: data sets, networks, losses, stages, evaluation. Imports torch; the runtime never imports this."""
