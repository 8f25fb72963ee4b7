"""Published verification protocols, each reproducing the numbers of its reference programs.

    lfw             k-fold accuracy and VAL of pair lists (insightface, facenet)
    magface         MagFace's 1:1 of pair lists: angular distance, mean subtraction, quality
    fusion          a photo's feature and its mirror image's as one
    ijb             IJB-B and IJB-C 1:1: images, media, templates, pairs
    tar             TAR at FAR as published scripts read it, and at the last point that keeps the FAR
    identification  1:N: search in blocks, and the two published forms `joined` and `apart`
    tinyface        ranks with distractors

`sets` puts them behind one interface, for programs that compare networks on several sets:

    found = some_set.measure(plain, mirrored)    # raw features [N,D], row i of the photo some_set.photos[i]
    found.numbers["tar_within@0.0001"]

A set (`sets.EvaluationSet`) has a name, a protocol, the photos it needs (`sets.require_photos` checks that they are
there), and `measure`. Features are raw: neither
divided by their length nor joined with those of mirror images, since protocols differ in that. A row of NaN is a photo
without a usable face. `mirrored` may be None: the protocol without mirror images. Numbers are shares in [0, 1]:

    accuracy, accuracy_std, eer, auc                     pairs, 10 folds
    tar_nearest@FAR, tar_within@FAR                      pairs and IJB 1:1, as published and as kept
    rank_1, rank_5 ..., tpir@FPIR                        a gallery; TPIR where enough probes have no mate
    joined_rank_1 ..., joined_tpir@FAR                   IJB 1:N, one form
    apart_rank_1 ..., apart_tpir@FPIR                    IJB 1:N, the other form; not comparable with the first

FAR and FPIR are written as `{:g}`: tar_nearest@0.0001, tar_nearest@1e-05.
"""
