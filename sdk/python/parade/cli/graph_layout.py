"""Where the steps of a workflow stand when it is drawn: in layers, each step below all that it needs. Knows no format.

The way of K. Sugiyama, S. Tagawa and M. Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981): layers by the
longest path, lines over several layers bent at each, an order within layers by the mean place of neighbours, then coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

COLUMN_GAP = 28.0
LAYER_GAP = 44.0
MARGIN = 16.0
SWEEPS = 8
"""How often the layers are ordered anew, down and up in turn; more than that changes little."""
MAX_BENDS = 20_000
"""With more bends than this lines go straight, for ordering them would take longer than anyone waits."""


@dataclass(slots=True)
class Box:
    """Where a step stands, in pixels from the upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The middle of its width."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Line:
    """The line from a step to one that needs it."""

    start: str
    end: str
    passages: Sequence[tuple[float, float, float]]
    """For each layer that it passes: where, and from what height to what height."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole drawing."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    """The steps, in the order in which they were given."""
    lines: Sequence[Line]


_Place = tuple[str, str, int]
"""A step (its id twice, and 0), or the bend of a line: from, to, and the layer."""


def direct_needs(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the needs without those that follow from others: where c needs b and b needs a, that c needs a is not worth a line."""
    bits = {step: 1 << place for place, step in enumerate(needs)}
    before: dict[str, int] = {}
    direct: dict[str, list[str]] = {}
    for step in _by_needs(needs):
        implied = 0
        for needed in needs[step]:
            implied |= before[needed]
        direct[step] = [needed for needed in needs[step] if not implied & bits[needed]]
        before[step] = implied | sum({bits[needed] for needed in needs[step]})
    return {step: direct[step] for step in needs}


def drawn_needs(needs: Mapping[str, Sequence[str]], races: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the needs that are drawn: the direct ones, and every step that races."""
    direct = direct_needs(needs)
    return {step: [needed for needed in needs[step] if needed in direct[step] or needed in races.get(step, ())] for step in needs}


def lay_out(needs: Mapping[str, Sequence[str]], sizes: Mapping[str, tuple[float, float]]) -> Layout:
    """Lays steps out.

    Args:
        needs: For each step, the steps that it needs; without cycles.
        sizes: The width and the height of each.
    """
    depth: dict[str, int] = {}
    for step in _by_needs(needs):
        depth[step] = 1 + max((depth[needed] for needed in needs[step]), default=-1)
    chains = _chains(needs, depth)
    layers = _ordered(_layers(depth, chains), _neighbours(chains))
    widths = {place: sizes[place[0]][0] if place[0] == place[1] else 0.0 for layer in layers for place in layer}
    middles = _middles(layers, widths, _neighbours(chains))

    left = min((middles[place] - widths[place] / 2 for layer in layers for place in layer), default=0.0) - MARGIN
    boxes: dict[str, Box] = {}
    spans: list[tuple[float, float]] = []
    top = MARGIN
    for layer in layers:
        height = max((sizes[place[0]][1] for place in layer if place[0] == place[1]), default=0.0)
        spans.append((top, top + height))
        for place in layer:
            step = place[0]
            if step == place[1]:
                width, own = sizes[step]
                boxes[step] = Box(middles[place] - width / 2 - left, top + (height - own) / 2, width, own)
        top += height + LAYER_GAP
    lines = [Line(chain[0][0], chain[-1][0], [(middles[bend] - left, *spans[bend[2]]) for bend in chain[1:-1]]) for chain in chains]
    right = max((middles[place] + widths[place] / 2 for layer in layers for place in layer), default=0.0)
    return Layout(right - left + MARGIN, top - LAYER_GAP + MARGIN, {step: boxes[step] for step in needs}, lines)


def _by_needs(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the steps so that each comes after all that it needs."""
    waiting = {step: len(set(needed)) for step, needed in needs.items()}
    needing: dict[str, list[str]] = {step: [] for step in needs}
    for step, needed_steps in needs.items():
        for needed in set(needed_steps):
            needing[needed].append(step)
    ready = [step for step, count in waiting.items() if not count]
    for step in ready:  # it grows while it is gone through
        for follower in needing[step]:
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    return ready


def _chains(needs: Mapping[str, Sequence[str]], depth: Mapping[str, int]) -> list[list[_Place]]:
    """Returns, for each line, the places that it goes through: a step, its bends, a step."""
    pairs = [(needed, step) for step, needed_steps in needs.items() for needed in needed_steps]
    bent = sum(depth[end] - depth[start] - 1 for start, end in pairs) <= MAX_BENDS
    return [
        [(start, start, 0), *((start, end, layer) for layer in range(depth[start] + 1, depth[end] if bent else 0)), (end, end, 0)]
        for start, end in pairs
    ]


def _layers(depth: Mapping[str, int], chains: Sequence[Sequence[_Place]]) -> list[list[_Place]]:
    layers: list[list[_Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for step, layer in depth.items():
        layers[layer].append((step, step, 0))
    for chain in chains:
        for bend in chain[1:-1]:
            layers[bend[2]].append(bend)
    return layers


def _neighbours(chains: Sequence[Sequence[_Place]]) -> tuple[dict[_Place, list[_Place]], dict[_Place, list[_Place]]]:
    """Returns, for each place, the places above it that it is joined to, and those below."""
    above: dict[_Place, list[_Place]] = {}
    below: dict[_Place, list[_Place]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _ordered(layers: list[list[_Place]], neighbours: tuple[dict[_Place, list[_Place]], dict[_Place, list[_Place]]]) -> list[list[_Place]]:
    """Orders each layer by the mean place of its neighbours, so that lines cross little."""
    rank = {place: index for layer in layers for index, place in enumerate(layer)}
    for sweep in range(SWEEPS):
        joined = neighbours[sweep % 2]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            keys = {place: _mean([float(rank[other]) for other in joined.get(place, ())], float(rank[place])) for place in layer}
            layer.sort(key=keys.__getitem__)
            rank.update({place: index for index, place in enumerate(layer)})
    return layers


def _middles(
    layers: Sequence[Sequence[_Place]],
    widths: Mapping[_Place, float],
    neighbours: tuple[dict[_Place, list[_Place]], dict[_Place, list[_Place]]],
) -> dict[_Place, float]:
    """Returns where each place's middle is: as near to the mean of its neighbours as the others of its layer let it."""
    middles: dict[_Place, float] = {}
    for layer in layers:
        middles.update(_spread(layer, [0.0] * len(layer), widths))
    for sweep in range(SWEEPS):
        joined = neighbours[sweep % 2]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean([middles[other] for other in joined.get(place, ())], middles[place]) for place in layer]
            middles.update(_spread(layer, wanted, widths))
    return middles


def _spread(layer: Sequence[_Place], wanted: Sequence[float], widths: Mapping[_Place, float]) -> dict[_Place, float]:
    """Returns middles in the layer's order, apart by the gap: the mean of pushing to the right and pushing to the left."""
    apart = [0.0, *((widths[one] + widths[other]) / 2 + COLUMN_GAP for one, other in pairwise(layer))]
    rightwards = list(wanted)
    for index in range(1, len(layer)):
        rightwards[index] = max(rightwards[index], rightwards[index - 1] + apart[index])
    leftwards = list(wanted)
    for index in range(len(layer) - 2, -1, -1):
        leftwards[index] = min(leftwards[index], leftwards[index + 1] - apart[index + 1])
    return {place: (right + left) / 2 for place, right, left in zip(layer, rightwards, leftwards, strict=True)}


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise
