"""Path-dependent TreeSHAP: exact contributions of columns to a sum of trees, in time linear in the nodes.

If a column is unknown, both branches are taken, weighted by the share of the fit's rows that took each. A leaf then adds its
value times, for each column on its path, z (the share that took the path) if the column is unknown, and o (1 if the row
itself takes the path, else 0) if it is known. With every column known to the degree t this is a product of
(1 - t) z + t o, and the Shapley value of a column is the integral over t from 0 to 1 of the derivative by its own degree.
This is a polynomial of lower degree than there are columns on the path, so Gauss-Legendre quadrature with half as many
points is exact; no term of a product is negative, so nothing cancels.

References
----------
Lundberg, Erion, Chen, DeGrave, Prutkin, Nair, Katz, Himmelfarb, Bansal, Lee (2020): From local explanations to global
understanding with explainable AI for trees. The definition; its Algorithm 2 takes time that grows with the depth's square.
Owen (1972): Multilinear Extensions of Games. The integral.
Yu, Bifet, Read, Xu (2022): Linear TreeSHAP. One pass down and one up instead of one per leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraud3000.features.jit import kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

_STEP = np.dtype([("column", "i4"), ("above", "i4"), ("share", "f8")], align=True)
"""Step to a node: the column that the parent tests (-1 for a root), the last earlier node on the path that was reached by the
same column (-1 for none), and the share of rows that pass all steps of the path by this column."""


@dataclass(frozen=True, eq=False)
class TreePaths:
    """Precomputed data for explanations that does not depend on the row.

    Attributes
    ----------
    steps
        One record for each node.
    points
        Number of quadrature points of each tree, shape (n_trees,).
    base
        The mean of the trees' sum over the rows of the fit.
    rules
        Points and weights of Gauss-Legendre quadrature on 0 to 1, shape (2, most points + 1, most points): row n has n points.
    """

    steps: Records
    points: Ints
    base: float
    rules: Floats

    @classmethod
    def from_nodes(cls, roots: Ints, nodes: Records, cover: Floats) -> TreePaths:
        """Trace every path once.

        Parameters
        ----------
        nodes
            As in `Trees`: the nodes of a tree are contiguous, parents before children.
        cover
            Number (or weight) of rows of the fit that reached each node.
        """
        steps = np.zeros(len(nodes), dtype=_STEP)
        parents, columns_above = np.zeros((2, len(nodes)), dtype=np.int32)
        reach = np.ones(len(nodes))
        _trace(roots, nodes, cover, steps, parents, columns_above, reach)
        leaf = nodes["column"] < 0
        points = np.maximum(1, (np.maximum.reduceat(columns_above, roots) + 1) // 2).astype(np.int32)
        base = float(np.add.reduceat(np.where(leaf, nodes["cut"] * reach, 0.0), roots).sum())
        return cls(steps, points, base, _rules(int(points.max())))


def add(rows: Floats, roots: Ints, nodes: Records, paths: TreePaths, values: Floats) -> None:
    """Add the contributions of each column to each row's values; `paths.base` and the contributions sum to the trees' sum.

    Parameters
    ----------
    rows, values
        Of shape (n_rows, n_columns); NaN where missing.
    """
    _explain(rows, roots, nodes, paths.steps, paths.points, paths.rules, values)


def _rules(most: int) -> Floats:
    rules = np.zeros((2, most + 1, most))
    for size in range(1, most + 1):
        points, weights = np.polynomial.legendre.leggauss(size)
        rules[0, size, :size], rules[1, size, :size] = (points + 1) / 2, weights / 2
    return rules


@kernel
def _trace(
    roots: Ints, nodes: Records, cover: Floats, steps: Records, parents: Ints, columns_above: Ints, reach: Floats
) -> None:
    """Fill in the steps, the number of columns on each node's path, and the share of rows that reach it."""
    for root in roots:
        steps[root]["column"], steps[root]["above"], steps[root]["share"], parents[root] = -1, -1, 1.0, -1
    for index in range(len(nodes)):
        column = nodes[index]["column"]
        if column < 0:
            continue
        above = index
        while above >= 0 and steps[above]["column"] != column:
            above = parents[above]
        left, right = nodes[index]["left"], nodes[index]["right"]
        for child in (left, right):
            share = cover[child] / (cover[left] + cover[right])
            parents[child], reach[child] = index, reach[index] * share
            columns_above[child] = columns_above[index] + (1 if above < 0 else 0)
            steps[child]["column"], steps[child]["above"] = column, above
            steps[child]["share"] = share * (1.0 if above < 0 else steps[above]["share"])


@kernel
def _explain(
    rows: Floats, roots: Ints, nodes: Records, steps: Records, points: Ints, rules: Floats, values: Floats
) -> None:
    """Add the contributions of every tree, in order."""
    for tree in range(len(roots)):
        root, size = roots[tree], points[tree]
        end = roots[tree + 1] if tree + 1 < len(roots) else len(nodes)
        degrees, weights = rules[0, size, :size], rules[1, size, :size]
        passed = np.zeros(end - root, dtype=np.bool_)
        product = np.empty((end - root, size))
        for row in range(len(rows)):
            _down(rows[row], root, nodes[root:end], steps[root:end], degrees, passed, product)
            _up(values[row], root, nodes[root:end], steps[root:end], degrees, weights, passed, product)


@kernel
def _down(
    row: Floats, root: int, nodes: Records, steps: Records, degrees: Floats, passed: Flags, product: Floats
) -> None:
    """Compute whether the row passes all steps by each node's column, and the product over the columns on its path."""
    passed[0], product[0] = True, 1.0
    for index in range(len(nodes)):
        node = nodes[index]
        if node["column"] < 0:
            continue
        value = row[node["column"]]
        left, right = node["left"] - root, node["right"] - root
        goes_left = node["gap_left"] == 1 if np.isnan(value) else value <= node["cut"]
        next_node = left if goes_left else right
        for child in (left, right):
            share, above = steps[child]["share"], steps[child]["above"] - root
            passed[child] = child == next_node and (above < 0 or passed[above])
            own = 1.0 if passed[child] else 0.0
            if above < 0:
                for point in range(len(degrees)):
                    product[child, point] = product[index, point] * (
                        (1 - degrees[point]) * share + degrees[point] * own
                    )
            else:
                before, owned = steps[above]["share"], 1.0 if passed[above] else 0.0
                for point in range(len(degrees)):
                    rest, known = 1 - degrees[point], degrees[point]
                    factor = (rest * share + known * own) / (rest * before + known * owned)
                    product[child, point] = product[index, point] * factor


@kernel
def _up(
    values: Floats,
    root: int,
    nodes: Records,
    steps: Records,
    degrees: Floats,
    weights: Floats,
    passed: Flags,
    product: Floats,
) -> None:
    """Sum the leaves below each node, and add the contribution of each step to its column."""
    for index in range(len(nodes) - 1, 0, -1):
        node, step = nodes[index], steps[index]
        left, right = node["left"] - root, node["right"] - root
        for point in range(len(degrees)):
            if node["column"] < 0:
                product[index, point] *= node["cut"]
            else:
                product[index, point] = product[left, point] + product[right, point]
        above = step["above"] - root
        part = _part(product[index], degrees, weights, step["share"], passed[index])
        if above >= 0:  # replaces the contribution of the earlier step by the same column for these leaves
            part -= _part(product[index], degrees, weights, steps[above]["share"], passed[above])
        values[step["column"]] += part


@kernel
def _part(sums: Floats, degrees: Floats, weights: Floats, share: float, passed: bool) -> float:
    """Return the integral of sums over (1 - t) share + t own, times own - share."""
    total = 0.0
    if passed:
        for point in range(len(degrees)):
            total += weights[point] * sums[point] / ((1 - degrees[point]) * share + degrees[point])
        return total * (1 - share)
    for point in range(len(degrees)):
        total -= weights[point] * sums[point] / (1 - degrees[point])
    return total
