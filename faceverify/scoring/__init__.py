"""Pairs -> similarities.

plan          pairs numbered and cut into shards, the distinct photos they name
photos        their embeddings and what became of each
similarity    embeddings + pair numbers -> cosines, one row per pair
csv_output    the columns asked for, in the order of the input
"""
