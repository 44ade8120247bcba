"""Training data: sources of cases, and the batches drawn from them."""
