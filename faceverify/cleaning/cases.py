"""What a person should look at: one row of tables.CASES per folder with something open, hardest first.

Shape letters: N photos of a shard, P photos of a case.
"""

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.cleaning.evidence import sentences, suggested_person
from faceverify.cleaning.linking import person_starts
from faceverify.cleaning.reasons import CleaningReason, Decision
from faceverify.cleaning.shard import Shard
from faceverify.cleaning.verdicts import CLEANING, Found, Verdicts, World

SHOWN = 40  # photos of a case: the matrix of more could not be read


@dataclass(frozen=True)
class Twins:
    """Other folders that may hold the same person.

    of: {number: [(number of the other, mean cosine between both, whether they are one), ...]};
    same: the mean cosine from which on they are one.
    """

    of: dict[int, list[tuple[int, float, bool]]]
    same: float


def case_rows(rows: Shard, found: Found, verdicts: Verdicts, world: World, twins: Twins) -> pa.Table:
    """The cases of a shard, in the order of its people."""
    return _Cases(rows, found, verdicts, world, twins).table()


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
    """One shard on its way to cases."""

    def __init__(self, rows: Shard, found: Found, verdicts: Verdicts, world: World, twins: Twins) -> None:
        self.rows, self.found, self.verdicts, self.world, self.twins = rows, found, verdicts, world, twins
        self.texts = sentences(rows, found, verdicts, world)
        self.uris = rows.photos["uri"].to_pylist()
        self.open = self._open()

    def _open(self) -> np.ndarray:
        """Photos [N] bool worth a look: not kept, or kept in doubt, and nobody has decided about them yet."""
        why, what = self.verdicts.reason, self.verdicts.decision
        settled = (what == Decision.KEPT) & (why != CleaningReason.WEAK_BUT_UNCLAIMED)
        settled |= why == CleaningReason.EXACT_DUPLICATE
        return ~settled & np.array([who == CLEANING for who in self.verdicts.by], bool)

    def table(self) -> pa.Table:
        """All cases."""
        starts = person_starts(self.rows.number)
        cases = []
        for start, stop in zip(starts, np.r_[starts[1:], len(self.rows.number)], strict=True):
            if self.open[start:stop].any() or int(self.rows.number[start]) in self.twins.of:
                cases.append(self._case(np.arange(start, stop)))
        return pa.Table.from_pylist(cases, schema=tables.CASES)

    def _case(self, of: np.ndarray) -> dict[str, object]:
        """The case of one person, whose photos are the rows `of`."""
        number = int(self.rows.number[of[0]])
        twins = sorted(self.twins.of.get(number, []), key=lambda other: -other[1])
        shown = self._shown(of)
        matrix = self.rows.units[shown] @ self.rows.units[shown].T
        return {
            "person": self.world.person(number) or "",
            "hardness": self._hardness(of, twins),
            "headline": self._headline(of, twins),
            "photos_total": len(of),
            "photo": [self.rows.names[row] for row in shown],
            "uri": [self.uris[row] for row in shown],
            "is_fake": self.rows.fake[shown].tolist(),
            "component": [None if c < 0 else c for c in self.found.component[shown].tolist()],
            "decision": [str(what) for what in self.verdicts.decision[shown]],
            **self._suggestions(shown, twins),
            "evidence": [self.texts[row] for row in shown],
            "matrix": matrix.ravel().tolist(),
            "open": self.open[shown].tolist(),
            "bridges": bridges(matrix, self.world.lines.link),
        }

    def _shown(self, of: np.ndarray) -> np.ndarray:
        """The most telling photos by component: open ones are chosen first, the most doubtful before."""
        chosen = of[np.lexsort((of, -self.verdicts.doubt[of], ~self.open[of]))[:SHOWN]]
        component = self.found.component[chosen].astype(np.int64)
        return chosen[np.lexsort((chosen, np.where(component < 0, 1 << 40, component)))]

    def _suggestions(self, shown: np.ndarray, twins: list[tuple[int, float, bool]]) -> dict[str, object]:
        """Whose each photo may be; where nothing was searched, the folder's twin if it has one."""
        entries = self.found.entry[shown].tolist()
        twin = self.world.person(twins[0][0]) if twins else None
        other = self.found.other[shown].tolist()
        return {
            "suggested_person": [suggested_person(entry, self.world) or twin for entry in entries],
            "suggested_uri": [self.world.bank.uri[entry].as_py() if entry >= 0 else None for entry in entries],
            "similarity_suggested": [None if np.isnan(cosine) else cosine for cosine in other],
        }

    def _hardness(self, of: np.ndarray, twins: list[tuple[int, float, bool]]) -> float:
        """The doubt about the most doubtful open photo, or about whether a twin folder is one with this."""
        margin = self.world.lines.margin
        of_twins = [float(np.exp(-abs(likeness - self.twins.same) / margin)) for _, likeness, _ in twins]
        return max([*self.verdicts.doubt[of][self.open[of]].tolist(), *of_twins])

    def _headline(self, of: np.ndarray, twins: list[tuple[int, float, bool]]) -> str:
        reasons = self.verdicts.reason[of][self.open[of]].tolist()
        parts = [f"{reasons.count(why)} {why.replace('_', ' ')}" for why in CleaningReason if why in reasons]
        for other, likeness, one in twins:
            verb = "is the same person as" if one else "looks like"
            parts.append(f"{verb} {self.world.person(other)} (mean cosine {likeness:.2f})")
        return "; ".join(parts)
