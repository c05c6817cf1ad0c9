"""Exact contributions of columns to a sum of trees: path-dependent TreeSHAP, in time linear in the nodes.

Where a column is not known, both ways are taken, each in the share of the fit's rows that went there. Of a leaf then stays
its value times, for each column on the way to it, z (the share that went along) where the column is not known, and o (1 if
the row itself goes along, else 0) where it is. With every column known to the degree t this is a product of
(1 - t) z + t o, and the Shapley value of a column is the integral over t from 0 to 1 of the derivative by its own degree.
That is a polynomial of lower degree than there are columns on the way, so that Gauss's rule with half as many points gives
it exactly; no term of a product is negative, so nothing cancels.

References
----------
Lundberg, Erion, Chen, DeGrave, Prutkin, Nair, Katz, Himmelfarb, Bansal, Lee (2020): From local explanations to global
understanding with explainable AI for trees. What is computed; its Algorithm 2 takes time that grows with the depth's square.
Owen (1972): Multilinear Extensions of Games. The integral.
Yu, Bifet, Read, Xu (2022): Linear TreeSHAP. One walk down and one up in place of one for each leaf.
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

_WAY = np.dtype([("column", "i4"), ("above", "i4"), ("share", "f8")], align=True)
"""Of the step to a node: the column it is taken by (-1 for a root), the last node before it that was come to by the same
column (-1 for none), and the share of rows that all the path's steps by this column let pass."""


@dataclass(frozen=True, eq=False)
class TreePaths:
    """What explains trees and depends on no row.

    Attributes
    ----------
    ways
        One record for each node.
    points
        Of each tree how many degrees its integrals are taken at, shape (n_trees,).
    base
        The mean of the trees' sum over the rows of the fit.
    rules
        Points and weights of Gauss's rule on 0 to 1, shape (2, most points + 1, most points): row n is the rule of n points.
    """

    ways: Records
    points: Ints
    base: float
    rules: Floats

    @classmethod
    def from_nodes(cls, roots: Ints, nodes: Records, cover: Floats) -> TreePaths:
        """Follow every path once.

        Parameters
        ----------
        nodes
            As `Trees` lays them out, each tree's together and parents before children.
        cover
            How many rows of the fit, or how much weight, came to each node.
        """
        ways = np.zeros(len(nodes), dtype=_WAY)
        parents, met = np.zeros((2, len(nodes)), dtype=np.int32)
        reach = np.ones(len(nodes))
        _trace(roots, nodes, cover, ways, parents, met, reach)
        leaf = nodes["column"] < 0
        points = np.maximum(1, (np.maximum.reduceat(met, roots) + 1) // 2).astype(np.int32)
        base = float(np.add.reduceat(np.where(leaf, nodes["cut"] * reach, 0.0), roots).sum())
        return cls(ways, points, base, _rules(int(points.max())))


def add(rows: Floats, roots: Ints, nodes: Records, ways: TreePaths, values: Floats) -> None:
    """Add to each row's values what each column adds to its sum of the trees; `ways.base` and all of them make it up.

    Parameters
    ----------
    rows, values
        Of shape (n_rows, n_columns); a gap is NaN.
    """
    _explain(rows, roots, nodes, ways.ways, ways.points, ways.rules, values)


def _rules(most: int) -> Floats:
    rules = np.zeros((2, most + 1, most))
    for size in range(1, most + 1):
        points, weights = np.polynomial.legendre.leggauss(size)
        rules[0, size, :size], rules[1, size, :size] = (points + 1) / 2, weights / 2
    return rules


@kernel
def _trace(roots: Ints, nodes: Records, cover: Floats, ways: Records, parents: Ints, met: Ints, reach: Floats) -> None:
    """Fill in the ways, each node's count of columns on its path, and the share of rows that reach it."""
    for root in roots:
        ways[root]["column"], ways[root]["above"], ways[root]["share"], parents[root] = -1, -1, 1.0, -1
    for place in range(len(nodes)):
        column = nodes[place]["column"]
        if column < 0:
            continue
        above = place
        while above >= 0 and ways[above]["column"] != column:
            above = parents[above]
        left, right = nodes[place]["left"], nodes[place]["right"]
        for child in (left, right):
            share = cover[child] / (cover[left] + cover[right])
            parents[child], reach[child] = place, reach[place] * share
            met[child] = met[place] + (1 if above < 0 else 0)
            ways[child]["column"], ways[child]["above"] = column, above
            ways[child]["share"] = share * (1.0 if above < 0 else ways[above]["share"])


@kernel
def _explain(
    rows: Floats, roots: Ints, nodes: Records, ways: Records, points: Ints, rules: Floats, values: Floats
) -> None:
    """Add the contributions of every tree, in order."""
    for tree in range(len(roots)):
        root, size = roots[tree], points[tree]
        end = roots[tree + 1] if tree + 1 < len(roots) else len(nodes)
        degrees, weights = rules[0, size, :size], rules[1, size, :size]
        taken = np.zeros(end - root, dtype=np.bool_)
        product = np.empty((end - root, size))
        for row in range(len(rows)):
            _down(rows[row], root, nodes[root:end], ways[root:end], degrees, taken, product)
            _up(values[row], root, nodes[root:end], ways[root:end], degrees, weights, taken, product)


@kernel
def _down(
    row: Floats, root: int, nodes: Records, ways: Records, degrees: Floats, taken: Flags, product: Floats
) -> None:
    """Whether a row takes all steps of a path by a node's column, and the product over the columns on its path."""
    taken[0], product[0] = True, 1.0
    for place in range(len(nodes)):
        node = nodes[place]
        if node["column"] < 0:
            continue
        found = row[node["column"]]
        left, right = node["left"] - root, node["right"] - root
        goes_left = node["gap_left"] == 1 if np.isnan(found) else found <= node["cut"]
        next_one = left if goes_left else right
        for child in (left, right):
            share, above = ways[child]["share"], ways[child]["above"] - root
            taken[child] = child == next_one and (above < 0 or taken[above])
            own = 1.0 if taken[child] else 0.0
            if above < 0:
                for at in range(len(degrees)):
                    product[child, at] = product[place, at] * ((1 - degrees[at]) * share + degrees[at] * own)
            else:
                before, owned = ways[above]["share"], 1.0 if taken[above] else 0.0
                for at in range(len(degrees)):
                    rest, known = 1 - degrees[at], degrees[at]
                    factor = (rest * share + known * own) / (rest * before + known * owned)
                    product[child, at] = product[place, at] * factor


@kernel
def _up(
    values: Floats,
    root: int,
    nodes: Records,
    ways: Records,
    degrees: Floats,
    weights: Floats,
    taken: Flags,
    product: Floats,
) -> None:
    """Sum what the leaves below each node say, and give each step's column its part."""
    for place in range(len(nodes) - 1, 0, -1):
        node, way = nodes[place], ways[place]
        left, right = node["left"] - root, node["right"] - root
        for at in range(len(degrees)):
            if node["column"] < 0:
                product[place, at] *= node["cut"]
            else:
                product[place, at] = product[left, at] + product[right, at]
        above = way["above"] - root
        part = _part(product[place], degrees, weights, way["share"], taken[place])
        if above >= 0:  # the step before gave its column a part for these leaves that is not theirs
            part -= _part(product[place], degrees, weights, ways[above]["share"], taken[above])
        values[way["column"]] += part


@kernel
def _part(sums: Floats, degrees: Floats, weights: Floats, share: float, taken: bool) -> float:
    """The integral of sums over (1 - t) share + t own, times own - share."""
    total = 0.0
    if taken:
        for at in range(len(degrees)):
            total += weights[at] * sums[at] / ((1 - degrees[at]) * share + degrees[at])
        return total * (1 - share)
    for at in range(len(degrees)):
        total -= weights[at] * sums[at] / (1 - degrees[at])
    return total
