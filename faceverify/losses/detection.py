"""Detection: trains the branch `detail` of the network to classify photos as real or deepfake."""

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from faceverify.losses.vectors import masked_mean, upcast


class Detection(nn.Module):
    """Binary cross entropy of each photo's score, reals and deepfakes counting alike however many there are of each.

        loss = 1/2 mean over the reals of -log(1 - sigmoid(d)) + 1/2 mean over the deepfakes of -log sigmoid(d)

    d: score of a photo, in logits; in nats. A batch without one of the two has its half missing.
    """

    def forward(self, scores: Tensor, is_fake: Tensor) -> Tensor:
        """The loss of scores [N], logits, with is_fake [N] bool."""
        fake = is_fake.to(upcast(scores))
        each = binary_cross_entropy_with_logits(upcast(scores), fake, reduction="none")
        return (masked_mean(each, is_fake) + masked_mean(each, ~is_fake)) / 2
