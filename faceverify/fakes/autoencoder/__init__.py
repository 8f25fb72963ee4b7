"""Face swaps by small autoencoders that are trained on the user's own photos; no published weights.

`training.train` makes the networks, `swap.AutoencoderSwap` makes fakes with them.
"""
