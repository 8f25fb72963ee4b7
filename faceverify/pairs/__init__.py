"""Pairs to learn from: half genuine, a quarter with another person, a quarter with the person's own deepfakes.

Per person with n real photos: all k = n(n-1)/2 genuine pairs, k/2 impostor pairs (a photo of the person and one of a
random other person of the same split) and k/2 deepfake pairs (a photo and a fake of the person). No pair comes twice.
The result depends on the seed and the names alone, so any number of workers makes the same pairs in the same order.
"""
