"""What a reviewer should look at: one row of tables.CASES per folder with something open, hardest first.

Shape letters: N photos of a shard, P photos of a case.
"""

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.cleaning.decide import CLEANING, CleaningContext, PhotoDecisions
from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.outputs import sentences, suggested_person
from faceverify.cleaning.plan import PhotoShard
from faceverify.cleaning.rule import CleaningReason, Decision, PhotoEvidence

SHOWN = 40  # photos of a case: the matrix of more would be unreadable


@dataclass(frozen=True)
class SamePersonCandidates:
    """Other folders that may hold the same person.

    of: {number: [(number of the other, mean cosine between both, whether they are one), ...]};
    threshold: the mean cosine from which on they are one.
    """

    of: dict[int, list[tuple[int, float, bool]]]
    threshold: float


def case_rows(
    rows: PhotoShard,
    evidence: PhotoEvidence,
    decisions: PhotoDecisions,
    context: CleaningContext,
    candidates: SamePersonCandidates,
) -> pa.Table:
    """The cases of a shard, in the order of its people."""
    return _Cases(rows, evidence, decisions, context, candidates).table()


def bridges(matrix: np.ndarray, threshold: float) -> list[int]:
    """Links that are all that holds two groups together; a photo that hangs on one link is no group.

    Args:
        matrix: [P, P] cosines.
        threshold: there is a link where cosine >= threshold.

    Returns:
        Places of both ends, two by two.
    """
    linked = (matrix >= np.float32(threshold)) & ~np.eye(len(matrix), dtype=bool)
    graph = nx.Graph((int(i), int(j)) for i, j in np.argwhere(linked))
    degree = linked.sum(axis=1)
    return [end for edge in nx.bridges(graph) if degree[list(edge)].min() > 1 for end in edge]


class _Cases:
    """Builds the cases of one shard."""

    def __init__(
        self,
        rows: PhotoShard,
        evidence: PhotoEvidence,
        decisions: PhotoDecisions,
        context: CleaningContext,
        candidates: SamePersonCandidates,
    ) -> None:
        self.rows, self.evidence, self.decisions, self.context, self.candidates = (
            rows,
            evidence,
            decisions,
            context,
            candidates,
        )
        self.texts = sentences(rows, evidence, decisions, context)
        self.uris = rows.photos["uri"].to_pylist()
        self.open = self._open()

    def _open(self) -> np.ndarray:
        """Photos [N] bool worth a look: not kept, or kept in doubt, and nobody has decided about them yet."""
        why, what = self.decisions.reason, self.decisions.decision
        settled = (what == Decision.KEPT) & (why != CleaningReason.WEAK_BUT_UNCLAIMED)
        settled |= why == CleaningReason.EXACT_DUPLICATE
        return ~settled & np.array([who == CLEANING for who in self.decisions.by], bool)

    def table(self) -> pa.Table:
        """All cases."""
        starts = person_starts(self.rows.number)
        cases = []
        for start, stop in zip(starts, np.r_[starts[1:], len(self.rows.number)], strict=True):
            if self.open[start:stop].any() or int(self.rows.number[start]) in self.candidates.of:
                cases.append(self._case(np.arange(start, stop)))
        return pa.Table.from_pylist(cases, schema=tables.CASES)

    def _case(self, of: np.ndarray) -> dict[str, object]:
        """Build the case of one person, whose photos are the rows `of`."""
        number = int(self.rows.number[of[0]])
        candidates = sorted(self.candidates.of.get(number, []), key=lambda other: -other[1])
        shown = self._shown(of)
        matrix = self.rows.units[shown] @ self.rows.units[shown].T
        return {
            "person": self.context.person(number) or "",
            "hardness": self._hardness(of, candidates),
            "headline": self._headline(of, candidates),
            "photos_total": len(of),
            "photo": [self.rows.names[row] for row in shown],
            "uri": [self.uris[row] for row in shown],
            "is_fake": self.rows.fake[shown].tolist(),
            "component": [None if c < 0 else c for c in self.evidence.component[shown].tolist()],
            "decision": [str(what) for what in self.decisions.decision[shown]],
            **self._suggestions(shown, candidates),
            "evidence": [self.texts[row] for row in shown],
            "matrix": matrix.ravel().tolist(),
            "open": self.open[shown].tolist(),
            "bridges": bridges(matrix, self.context.thresholds.link),
        }

    def _shown(self, of: np.ndarray) -> np.ndarray:
        """The rows to show, at most SHOWN, by component; open ones are chosen first, and the most doubtful of them."""
        chosen = of[np.lexsort((of, -self.decisions.doubt[of], ~self.open[of]))[:SHOWN]]
        component = self.evidence.component[chosen].astype(np.int64)
        return chosen[np.lexsort((chosen, np.where(component < 0, 1 << 40, component)))]

    def _suggestions(self, shown: np.ndarray, candidates: list[tuple[int, float, bool]]) -> dict[str, object]:
        """The person each photo may be of; where nothing was searched, the most similar folder if there is one."""
        nearest_of = self.evidence.nearest[shown].tolist()
        similar = self.context.person(candidates[0][0]) if candidates else None
        other = self.evidence.other[shown].tolist()
        return {
            "suggested_person": [suggested_person(nearest, self.context) or similar for nearest in nearest_of],
            "suggested_uri": [
                self.context.centroids.uri[nearest].as_py() if nearest >= 0 else None for nearest in nearest_of
            ],
            "similarity_suggested": [None if np.isnan(cosine) else cosine for cosine in other],
        }

    def _hardness(self, of: np.ndarray, candidates: list[tuple[int, float, bool]]) -> float:
        """The doubt about the most doubtful open photo, or about whether a candidate folder holds the same person."""
        margin = self.context.thresholds.margin
        of_folders = [
            float(np.exp(-abs(similarity - self.candidates.threshold) / margin)) for _, similarity, _ in candidates
        ]
        return max([*self.decisions.doubt[of][self.open[of]].tolist(), *of_folders])

    def _headline(self, of: np.ndarray, candidates: list[tuple[int, float, bool]]) -> str:
        reasons = self.decisions.reason[of][self.open[of]].tolist()
        parts = [f"{reasons.count(why)} {why.replace('_', ' ')}" for why in CleaningReason if why in reasons]
        for other, similarity, one in candidates:
            verb = "is the same person as" if one else "looks like"
            parts.append(f"{verb} {self.context.person(other)} (mean cosine {similarity:.2f})")
        return "; ".join(parts)
