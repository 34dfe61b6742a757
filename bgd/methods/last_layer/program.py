"""The linear program of `last_layer_lp`: its rows, those of the keep-set as they are found broken, and its solution."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from bgd.methods.last_layer.head import Floats, Integers, View

INFEASIBLE = "no change of the last layer meets the constraints"
INFEASIBLE_STATUS = 2  # scipy's
TOLERANCE = 1e-6  # logits: a row that is broken by less holds; the solver's own is 1e-7
ROWS_A_ROUND = 100  # keep images that are added at a time: fewer are more rounds, more are larger programs


@dataclass(frozen=True, eq=False)
class Rows:
    """Constraints (x_rival - x_winner) inputs <= room, one a row.

    Attributes:
        inputs: (n, D).
        winner, rival: Classes (n,).
        room: In logits (n,).
        image: Which keep image it is of (n,); -1 for the sample.
    """

    inputs: Floats
    winner: Integers
    rival: Integers
    room: Floats
    image: Integers

    @classmethod
    def of_sample(cls, view: View, margin: float) -> "Rows":
        """Return the constraints that the right class wins by a margin."""
        rival = np.delete(np.arange(len(view.logits)), view.label)
        winner = np.full_like(rival, view.label)
        room = view.logits[view.label] - view.logits[rival] - margin
        return cls(np.tile(view.inputs, (len(rival), 1)), winner, rival, room, np.full_like(rival, -1))

    def matrix(self, classes: int) -> sp.csr_matrix:
        """Return the constraints as a matrix (n, C * D) over X, row by row of X."""
        count, width = self.inputs.shape
        at = np.arange(width)
        columns = np.hstack([self.rival[:, None] * width + at, self.winner[:, None] * width + at])
        entries = np.hstack([self.inputs, -self.inputs])
        starts = np.arange(0, 2 * width * count + 1, 2 * width)
        matrix = sp.csr_matrix((entries.ravel(), columns.ravel(), starts), shape=(count, classes * width))
        matrix.eliminate_zeros()
        return matrix


class Program:
    """A linear program over X and the slacks of keep images, to which rows are added.

    For L1 the variables are the positive and the negative part of X, and what is least is the sum of all. For Linf they
    are X + s, between 0 and 2 s, and s, which is least; the program for L1 then finds the smallest X of no more than
    that s and no more slack. Slacks follow, one for each keep image that has a row.

    Attributes:
        change: X (C, D) of the last solution.
    """

    def __init__(self, norm: str, price: float | None, rows: Rows) -> None:
        self._norm, self._price = norm, price
        self._classes = len(rows.rival) + 1  # the sample's rows name every class
        self._width = rows.inputs.shape[1]
        self._matrices, self._room, self._images = [rows.matrix(self._classes)], [rows.room], [rows.image]
        self._slack: dict[int, float] = {}
        self._largest = np.inf  # the smallest Linf with the rows there were, once it is known
        self._most_slack: dict[int, float] | None = None
        self.change = np.zeros((self._classes, self._width))

    def solve_with(self, rows: "KeepRows") -> str:
        """Solve, adding the rows of the keep-set that are found broken; return why it could not be, or nothing."""
        reason = self._solve()
        while not reason and self._add(rows.broken(self.change, self._slack)):
            reason = self._solve()
        return reason

    def _add(self, rows: Rows) -> bool:
        self._matrices.append(rows.matrix(self._classes))
        self._room.append(rows.room)
        self._images.append(rows.image)
        return len(rows.room) > 0

    def _solve(self) -> str:
        """Solve with the rows that there are; return why it could not be, or nothing."""
        if self._norm == "l1":
            return self._solve_l1()
        # More rows cannot lower the optimum: where the last s still has a solution, it is the smallest.
        if self._most_slack is not None and not self._solve_l1():
            return ""
        return self._solve_linf() or self._solve_l1()

    def _solve_l1(self) -> str:
        rows = sp.vstack(self._matrices, format="csr")
        size = rows.shape[1]
        slacked, slack = self._slack_columns()
        most = np.array([self._most_slack_of(image) for image in slacked])
        solution = self._run(
            sp.hstack([rows, -rows, slack], format="csr"),
            np.concatenate(self._room),
            np.append(np.ones(2 * size), np.full(len(slacked), self._price or 0.0)),
            np.append(np.full(2 * size, self._largest), most),
        )
        if isinstance(solution, str):
            return solution
        self.change = (solution[:size] - solution[size : 2 * size]).reshape(self._classes, self._width)
        self._slack = dict(zip(slacked, solution[2 * size :], strict=True))
        return ""

    def _solve_linf(self) -> str:
        rows = sp.vstack(self._matrices, format="csr")
        size = rows.shape[1]
        slacked, slack = self._slack_columns()
        of_rows = sp.hstack([rows, -rows.sum(axis=1), slack])
        within = sp.hstack([sp.identity(size), np.full((size, 1), -2.0), sp.csr_matrix((size, len(slacked)))])
        solution = self._run(
            sp.vstack([of_rows, within], format="csr"),
            np.concatenate([*self._room, np.zeros(size)]),
            np.concatenate([np.zeros(size), [1.0], np.full(len(slacked), self._price or 0.0)]),
            np.full(size + 1 + len(slacked), np.inf),
        )
        if isinstance(solution, str):
            return solution
        self._largest = float(solution[size])
        self._most_slack = dict(zip(slacked, solution[size + 1 :], strict=True))
        return ""

    def _run(self, matrix: sp.csr_matrix, room: Floats, cost: Floats, most: Floats) -> Floats | str:
        """Return the variables, between 0 and `most`, for which the cost is least; or in words why there are none."""
        # Here, for it takes as long to import as numba, and every process imports all methods.
        from scipy.optimize import linprog

        bounds = np.column_stack([np.zeros_like(most), most])
        found = linprog(cost, A_ub=matrix, b_ub=room, bounds=bounds, method="highs")
        if found.status == INFEASIBLE_STATUS:
            return INFEASIBLE
        if found.status != 0:
            return f"the linear program could not be solved: {found.message}"
        solution: Floats = found.x
        return solution

    def _most_slack_of(self, image: int) -> float:
        return np.inf if self._most_slack is None else self._most_slack.get(image, 0.0)

    def _slack_columns(self) -> tuple[list[int], sp.csr_matrix]:
        """Return which keep images may break their rows (k,), and the columns (n, k) by which they do."""
        image = np.concatenate(self._images)
        if self._price is None:
            return [], sp.csr_matrix((len(image), 0))
        at = np.flatnonzero(image >= 0)
        slacked, column = np.unique(image[at], return_inverse=True)
        slack = sp.csr_matrix((np.full(len(at), -1.0), (at, column)), shape=(len(image), len(slacked)))
        return slacked.tolist(), slack


class KeepRows:
    """The constraints of the keep-set, handed out as they are broken, each once."""

    def __init__(self, values: Floats, kept: Floats, margin: float) -> None:
        self._kept = kept
        logits = kept @ values.T
        self._own: Integers = logits.argmax(axis=1)
        self._at = np.arange(len(kept))
        gap = logits[self._at, self._own][:, None] - logits
        self._room = gap - np.minimum(margin, gap)
        self._open = np.ones_like(gap, dtype=bool)
        self._open[self._at, self._own] = False

    def broken(self, change: Floats, slack: Mapping[int, float]) -> Rows:
        """Return for the images that are worst off the row that is broken most.

        Args:
            change: X (C, D).
            slack: By how much an image may break its rows, where that is more than nothing.
        """
        moved = self._kept @ change.T
        excess = moved - moved[self._at, self._own][:, None] - self._room
        excess[list(slack)] -= np.array(list(slack.values()))[:, None]
        excess[~self._open] = -np.inf
        rival = excess.argmax(axis=1)
        worst = excess[self._at, rival]
        chosen = np.argsort(-worst, kind="stable")[:ROWS_A_ROUND]
        chosen = chosen[worst[chosen] > TOLERANCE]
        self._open[chosen, rival[chosen]] = False
        rival = rival[chosen]
        return Rows(self._kept[chosen], self._own[chosen], rival, self._room[chosen, rival], chosen)
