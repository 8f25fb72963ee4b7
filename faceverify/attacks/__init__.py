"""Attacks on a recogniser: photos made worse, and pixels changed along the network's own gradient.

Of each pair `photo_b`, the one that is shown to the system, is attacked; `photo_a`, the enrolled one, stays as it is.

    options     which attacks, how strong
    degrade     noise, blur, JPEG, low resolution, on photos before the face is found in them
    photos      photos -> crops and embeddings under every degradation
    gradients   FGSM and PGD on the aligned crop, against the embedding of the other photo
    pairs       similarities of pairs under every attack
    curves      error rates over strength

Nothing here knows of Ray.
"""
