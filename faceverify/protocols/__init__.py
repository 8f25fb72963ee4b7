"""Published verification protocols: one file per protocol, each reproducing the numbers of its reference program."""
