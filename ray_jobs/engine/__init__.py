"""What the jobs are made of: the command line, the cluster, progress, and how work is divided over Ray's workers.

A job beside this folder checks its inputs and says what is to be done; where and in which order is decided here.
"""
