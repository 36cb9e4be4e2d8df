"""Several schedules at once: what to train next, and for how long, compared in hypervolume for seconds spent.

    python benchmarks/multi_fidelity.py run [--lands curves ...] [--only POLICY ...] [--seeds 24]
    python benchmarks/multi_fidelity.py show
    python benchmarks/multi_fidelity.py schedules

Whole searches for accuracy against multiply-adds are simulated on the 348 architectures of ``benchmarks/tabular``, with
their real multiply-adds and seconds per epoch, and the learning curves of known truth of ``benchmarks/stopping.py``
(``simulated``; on the land ``quiet``, the luck of a seed is half as large). Beside the long training of eight epochs, a
land may have a short schedule of its own, whose learning rate goes down to 0 as well. What it costs, and how its
accuracies go with those of the long one, are those of two schedules of
``studies/results/fidelity-inception_dw-cifar10-epyc-2-cores.csv`` (24 architectures, 2 seeds; correlations of what two
seeds have in common). Policies: ``POLICIES``.

*Confirmed hypervolume*: that of the true accuracies of the fully trained candidates on the observed front, when so much
is spent (in trainings of mean length), as a share of what the whole space reaches.
"""

import argparse
import csv
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import stopping
from scipy.special import ndtr, ndtri
from tabular import FOLDER

from archsearch.search.samplers.ehvi import expected_improvement
from archsearch.search.samplers.features import Points
from archsearch.search.samplers.gp import BEGIN, Kernel
from archsearch.search.spec import STOPPING_LEVEL
from archsearch.stats.fronts import nondominated
from archsearch.stats.intervals import student

RESULTS = FOLDER / "multi_fidelity.json"
#: Schedules of architectures that were trained twice with each.
SCHEDULES = FOLDER.parents[1] / "studies" / "results" / "fidelity-inception_dw-cifar10-epyc-2-cores.csv"
#: Costs at which hypervolumes are noted, in long trainings of mean length.
COSTS = (10, 15, 20, 25, 30)
#: Parts of the long training, of two epochs each; policies look at its accuracy after each of them.
PARTS, EPOCHS = 4, 2
#: Number of first candidates that are trained to their end by all policies, far from each other.
START = 6
#: Pseudo-observations of the prior of the covariances between schedules, and steps of expectation maximisation.
PRIOR, STEPS = 6.0, 4
#: Standard deviations above the mean that early stopping hopes for: those of its level, 0.9.
LEVEL = float(ndtri(STOPPING_LEVEL))
#: Growth of the number of observations after which they are estimated again.
GROWTH = 1.4
#: Nodes and weights of an expectation over a standard normal variable.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(3)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Short:
    """A short schedule, relative to the long one.

    Attributes:
        cost: Seconds, as a share of the long one's.
        correlation: Correlation of the true accuracies.
        sd: Standard deviation of the true accuracies, as a share of the long one's.
        rest: Standard deviation of seeds, as a share of the long one's.
        luck: Correlation of the luck of a seed in both.
    """

    cost: float
    correlation: float
    sd: float
    rest: float
    luck: float


#: Short and long schedule of ``SCHEDULES``, by name of the land.
PAIRS = {
    "cpu to 6 epochs": ("cpu recipe", "6 epochs, batch 32"),
    "24 px to reference": ("24 px", "reference"),
}
#: What ``estimated`` makes of them, rounded; a correlation of luck that is below 0 by chance is taken as 0.
SHORT = {
    "curves": None,
    "quiet": None,
    "cpu to 6 epochs": Short(0.385, 0.75, 0.68, 0.86, 0.49),
    "24 px to reference": Short(0.120, 0.85, 0.30, 0.91, 0.0),
}


@dataclass(frozen=True)
class Land:
    """Architectures, what each observation of them costs, and what it gives. A is 348, D the number of observations.

    Observations are, in this order, the short schedule where there is one, and the parts of the long one.

    Attributes:
        features: Scaled features of the architectures, (A, F).
        macs: Multiply-adds, (A,).
        truth: True accuracies of the long schedule, (A,).
        seen: What each observation gives, (A, D).
        seconds: What each observation costs alone, (A, D).
        curves: The same land for ``benchmarks/stopping.py``, without the short schedule.
    """

    features: np.ndarray
    macs: np.ndarray
    truth: np.ndarray
    seen: np.ndarray
    seconds: np.ndarray
    curves: stopping.Land

    @property
    def whole(self) -> np.ndarray:
        """Seconds of the long training, (A,)."""
        return self.seconds[:, -PARTS:].sum(axis=1)

    def confirmed(self, ends: Sequence[tuple[float, int]]) -> list[float]:
        """At each of ``COSTS``; ``ends`` are seconds spent and architecture of every complete training."""
        mean = float(self.whole.mean())
        return [self._share([arch for spent, arch in ends if spent <= cost * mean]) for cost in COSTS]

    def _share(self, archs: Sequence[int]) -> float:
        seen = np.column_stack([-self.seen[archs, -1], self.macs[archs]]) if archs else np.empty((0, 2))
        return self._volume(np.array(archs, dtype=int)[nondominated(seen)] if archs else []) / self._reach

    @functools.cached_property
    def _reach(self) -> float:
        return self._volume(range(len(self.truth)))

    def _volume(self, archs: Sequence[int] | np.ndarray) -> float:
        """Hypervolume of true accuracies, up to the worst accuracy and the most multiply-adds of the space."""
        total, best = 0.0, float(self.truth.min())
        for arch in sorted(archs, key=lambda arch: (self.macs[arch], -self.truth[arch])):
            total += max(0.0, self.truth[arch] - best) * (self.macs.max() - self.macs[arch])
            best = max(best, self.truth[arch])
        return float(total)


@functools.cache
def ground() -> tuple[Points, np.ndarray]:
    """Points of the space and their scaled features, in the order of its grid."""
    space, table = stopping.explained()[:2]
    points = Points(space, lambda arch: {k: table.rows[arch.key]["scores"][k] for k in ("macs", "params")}, 0)
    return points, np.array([points.scaled(points.at(params)) for params in space.grid()])


def land(name: str, seed: int) -> Land:
    """A land by name and seed; without the short schedule, it is one of ``benchmarks/stopping.py``."""
    space, *_, rest = stopping.explained()
    curves = stopping.land("quiet" if name == "quiet" else "simulated", seed)
    keys = [space.arch(params).key for params in space.grid()]
    rows = [curves.table.rows[key] for key in keys]
    seen = np.array([[accuracy for _, accuracy, _ in row["curve"][EPOCHS - 1 :: EPOCHS]] for row in rows])
    seconds = np.array([[s * EPOCHS for *_, s in row["curve"][::EPOCHS]] for row in rows])
    truth = np.array([curves.truth[key] for key in keys])
    if (short := SHORT[name]) is not None:
        rng = np.random.default_rng([seed, 7])
        own = stopping._field(space, [*space.grid()], rng)
        r, luck = short.correlation, short.luck
        true = truth.std() * short.sd * (r * stopping._standardised(truth) + np.sqrt(1 - r**2) * own)
        noise = float(np.linalg.norm(rest[-1]))
        seeds = luck * (seen[:, -1] - truth) / noise + np.sqrt(1 - luck**2) * rng.normal(size=len(truth))
        seen = np.column_stack([truth.mean() + true + short.rest * noise * seeds, seen])
        seconds = np.column_stack([short.cost * seconds.sum(axis=1), seconds])
    macs = np.array([row["scores"]["macs"] for row in rows])
    return Land(ground()[1], macs, truth, seen, seconds, curves)


@functools.cache
def kernel() -> np.ndarray:
    """Covariances of architectures, of mean 1: half of it Matern, half linear; (A, A)."""
    features = ground()[1]
    lengths = np.full(features.shape[1], BEGIN * np.sqrt(features.shape[1]))
    parts = Kernel(1.0, lengths, 0.0, 0.0, 0.0), Kernel(0.0, lengths, 1.0, 0.0, 0.0)
    both = [part.between(features, features) for part in parts]
    return sum(one / np.diag(one).mean() for one in both) / 2


class Joint:
    """A Gaussian process over architectures and observations: covariance K x S of what they share, I x R of each alone.

    K is the kernel of the tool's own model, with the length scales at which its fit begins. S and R are covariances
    between the D observations, estimated from all that has been observed by expectation maximisation with an inverse
    Wishart prior, under which observations are the more alike the nearer they are in cost. So curves of paused
    trainings and short schedules are of one kind (Swersky et al. 2013 for schedules, 2014 for freeze and thaw).
    """

    def __init__(self, land: Land) -> None:
        """Args: land: what is observed."""
        self.land, self.dimensions = land, land.seen.shape[1]
        self.known: list[tuple[int, int]] = []  # architecture and observation
        self._fitted, self._kernel = 0, kernel()
        share = np.cumsum(land.seconds.mean(axis=0)[-PARTS:])
        at = np.concatenate([[0.5 * share[-1]] * (self.dimensions - PARTS), share])
        like = np.minimum.outer(at, at) / np.maximum.outer(at, at)
        self._prior = like / 2, like / 2
        self.shared, self.alone = self._prior

    def observe(self, arch: int, dimension: int) -> None:
        """Take an observation in."""
        self.known.append((arch, dimension))

    def condition(self) -> None:
        """Take all observations in: what is asked afterwards follows from them."""
        archs, dims = np.array(self.known).T
        if len(archs) >= GROWTH * self._fitted:
            self._fit(archs, dims)
            self._fitted = len(archs)
        self._archs, self._dims = archs, dims
        covariance = self._prior_covariance(archs, dims)
        self._inverse_root = np.linalg.inv(np.linalg.cholesky(covariance))
        y, design = self.land.seen[archs, dims], np.eye(self.dimensions)[dims]
        white, rest = self._inverse_root @ design, self._inverse_root @ y
        weak = 1e-6 * np.eye(self.dimensions)  # of observations that nobody has made yet
        self.level = np.linalg.solve(white.T @ white + weak, white.T @ rest + weak @ np.full(self.dimensions, y.mean()))
        self._weights = self._inverse_root.T @ (rest - white @ self.level)

    def _prior_covariance(self, archs: np.ndarray, dims: np.ndarray) -> np.ndarray:
        shared = self._kernel[np.ix_(archs, archs)] * self.shared[np.ix_(dims, dims)]
        own = np.equal.outer(archs, archs) * self.alone[np.ix_(dims, dims)]
        return shared + own + 1e-8 * np.eye(len(archs))

    def _fit(self, archs: np.ndarray, dims: np.ndarray) -> None:
        everything = self.land.seen[archs, dims].var()
        seen = [self.land.seen[archs[dims == d], d] for d in range(self.dimensions)]
        variance = np.array([values.var() if len(values) > 2 else everything for values in seen])
        scale = np.sqrt(np.outer(variance, variance))
        prior = [part * scale for part in self._prior]
        if not self._fitted:
            self.shared, self.alone = prior
        for _ in range(STEPS):
            self.shared, self.alone = self._step(archs, dims, prior)

    def _step(self, archs: np.ndarray, dims: np.ndarray, prior: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """A step of expectation maximisation of both covariances."""
        taken, places = np.unique(archs, return_inverse=True)
        kernel = self._kernel[np.ix_(taken, taken)]
        inverse = np.linalg.inv(self._prior_covariance(archs, dims))
        y, design = self.land.seen[archs, dims], np.eye(self.dimensions)[dims]
        rest = y - design @ np.linalg.lstsq(design.T @ inverse @ design, design.T @ inverse @ y, rcond=None)[0]
        found = []
        for part, before, between in ((self.shared, prior[0], kernel), (self.alone, prior[1], np.eye(len(taken)))):
            cross = np.kron(between, part)[:, places * self.dimensions + dims]
            mean = (cross @ inverse @ rest).reshape(len(taken), -1)
            spread = np.kron(between, part) - cross @ inverse @ cross.T
            spread = spread.reshape(len(taken), self.dimensions, len(taken), self.dimensions)
            outside = np.linalg.inv(between + 1e-6 * np.eye(len(taken)))
            total = mean.T @ outside @ mean + np.einsum("ij,jaib->ab", outside, spread)
            found.append((PRIOR * before + (total + total.T) / 2) / (PRIOR + len(taken)))
        return found[0], found[1]

    def _cross(self, archs: np.ndarray, dims: np.ndarray, own: bool) -> np.ndarray:
        """Covariances of one observation per architecture, or of its shared part alone, with what is known; (A, N)."""
        shared = self._kernel[np.ix_(archs, self._archs)] * self.shared[np.ix_(dims, self._dims)]
        return shared + own * np.equal.outer(archs, self._archs) * self.alone[np.ix_(dims, self._dims)]

    def true(self, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and standard deviation of true accuracies, (A,) each, and whitened covariances, (N, A); of ``dims``."""
        every = np.arange(len(self.land.truth))
        cross = self._cross(every, dims, own=False)
        explained = self._inverse_root @ cross.T
        variance = self._kernel[every, every] * self.shared[dims, dims] - np.square(explained).sum(axis=0)
        return self.level[dims] + cross @ self._weights, np.sqrt(np.maximum(variance, 1e-12)), explained

    def end(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of the long training's end."""
        return self.true(np.full(len(self.land.truth), self.dimensions - 1))

    def learnt(self, dims: np.ndarray, of_end: np.ndarray) -> np.ndarray:
        """Standard deviation by which an observation of each architecture will move its expected end, (A,)."""
        every = np.arange(len(self.land.truth))
        explained = self._inverse_root @ self._cross(every, dims, own=True).T
        diagonal = self._kernel[every, every]
        seen = diagonal * self.shared[dims, dims] + self.alone[dims, dims] - np.square(explained).sum(axis=0)
        both = diagonal * self.shared[dims, -1] - np.einsum("na,na->a", explained, of_end)
        return np.abs(both) / np.sqrt(np.maximum(seen, 1e-12))


@dataclass
class State:
    """A search under way.

    Attributes:
        land: What is searched.
        model: What is known.
        rng: Source of the policy's own draws.
        parts: Parts of the long schedule that each architecture has had, (A,).
        screened: Whether it has had the short one, (A,).
        latest: What was trained last.
    """

    land: Land
    model: Joint
    rng: np.random.Generator
    parts: np.ndarray = field(init=False)
    screened: np.ndarray = field(init=False)
    latest: int = -1

    def __post_init__(self) -> None:
        self.parts = np.zeros(len(self.land.truth), dtype=int)
        self.screened = np.zeros(len(self.land.truth), dtype=bool)

    @property
    def left(self) -> np.ndarray:
        """Seconds until each architecture is trained to its end, (A,)."""
        return self.land.whole * (PARTS - self.parts) / PARTS

    @property
    def front(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Accuracies and multiply-adds of the observed front, and the worst complete accuracy."""
        done = np.flatnonzero(self.parts == PARTS)
        seen = self.land.seen[done, -1]
        keep = nondominated(np.column_stack([-seen, self.land.macs[done]]))
        return seen[keep], self.land.macs[done][keep], float(seen.min())

    def improvement(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Expected hypervolume improvement of each architecture, (A,); 0 of those that are trained to their end."""
        scores, macs, worst = self.front
        order = np.argsort(macs)
        levels = np.append(worst, np.maximum.accumulate(scores[order]))
        edges = np.append(macs[order], self.land.macs.max())
        above = np.maximum(self.land.macs[:, None], np.append(0.0, macs[order]))
        gain = expected_improvement(mean[:, None], sd[:, None], levels) * np.maximum(edges - above, 0.0)
        return np.where(self.parts == PARTS, 0.0, gain.sum(axis=1) / np.ptp(self.land.macs))

    def after(self, mean: np.ndarray, sd: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """Expected improvement at each of ``NODES`` of what the next observation may say, (nodes, A)."""
        rest = np.sqrt(np.maximum(np.square(sd) - np.square(moves), 1e-12))
        return np.array([self.improvement(mean + node * moves, rest) for node in NODES])


def look_first(gains: np.ndarray, look: np.ndarray, finish: np.ndarray) -> np.ndarray:
    """The rate at which it does not matter whether to look and then perhaps to finish, (A,); Weitzman 1979.

    It solves ``E[max(0, gain - rate * finish)] = rate * look``, for gains of (nodes, A) with ``WEIGHTS``.
    """
    order = np.argsort(-gains, axis=0)
    weights = np.cumsum(WEIGHTS[order], axis=0)
    return np.max(
        np.cumsum(WEIGHTS[order] * np.take_along_axis(gains, order, 0), axis=0) / (look + weights * finish), 0
    )


#: What a policy does next: an architecture, and how many parts it has then; 0 for its short schedule.
Step = tuple[int, int]


def to_the_end(state: State) -> Step:
    """The candidate with the largest expected gain per second, trained to its end."""
    mean, sd, _ = state.model.end()
    return int(np.argmax(state.improvement(mean, sd) / np.maximum(state.left, 1e-9))), PARTS


def early_stopping(state: State) -> Step:
    """The same with the tool's early stopping: for good given up where a rival that costs no more is surely better."""
    mean, sd, _ = state.model.end()
    arch = state.latest
    if arch >= 0 and 0 < state.parts[arch] < PARTS:
        rivals = np.flatnonzero((state.parts == PARTS) & (state.land.macs <= state.land.macs[arch]))
        doubt = LEVEL * np.sqrt(np.square(sd[arch]) + np.square(sd[rivals]))
        if not (mean[rivals] > mean[arch] + doubt).any():
            return arch, int(state.parts[arch]) + 1
    gain = state.improvement(mean, sd) / state.land.whole
    return int(np.argmax(np.where(state.parts > 0, -1.0, gain))), 1


def freeze_thaw(state: State, peek: bool = True, again: bool = True) -> Step:
    """The candidate with the largest expected gain per second, new or paused, trained until its next look.

    Args:
        state: Search under way.
        peek: Whether what a look may change is reckoned with.
        again: Whether what was paused may be taken up again.
    """
    mean, sd, of_end = state.model.end()
    paused = state.improvement(mean, sd) / np.maximum(state.left, 1e-9)
    then = np.minimum(state.parts + 1, PARTS)
    offset = state.model.dimensions - PARTS - 1
    best = paused
    if peek:
        look = state.land.whole / PARTS
        gains = state.after(mean, sd, state.model.learnt(offset + then, of_end))
        best = np.where(state.left > look, look_first(gains, look, np.maximum(state.left - look, 0.0)), paused)
    given_up = (state.parts > 0) & (np.arange(len(mean)) != state.latest) & (not again)
    arch = int(np.argmax(np.where(given_up | (state.parts == PARTS), -1.0, best)))
    return arch, int(then[arch])


def screening(state: State) -> Step:
    """The same with the short schedule as the only look: what is trained long is trained to its end."""
    mean, sd, of_end = state.model.end()
    direct = state.improvement(mean, sd) / np.maximum(state.left, 1e-9)
    moves = state.model.learnt(np.zeros(len(mean), dtype=int), of_end)
    rate = look_first(state.after(mean, sd, moves), state.land.seconds[:, 0], state.left)
    rate[state.screened | (state.parts > 0)] = 0.0
    arch = int(np.argmax(np.where(state.parts == PARTS, -1.0, np.maximum(direct, rate))))
    return arch, 0 if rate[arch] > direct[arch] else PARTS


def promotion(state: State, eta: int = 2, rungs: Sequence[int] = (1, 2)) -> Step:
    """Successive halving without waiting (ASHA), by domination (MO-ASHA); new ones by expected gain per second."""
    column = state.model.dimensions - PARTS - 1
    for rung, then in reversed([*zip(rungs, (*rungs[1:], PARTS), strict=True)]):
        there = np.flatnonzero(state.parts >= rung)
        points = np.column_stack([-state.land.seen[there, column + rung], state.land.macs[there]])
        best = there[np.argsort(layers(points), kind="stable")[: len(there) // eta]]
        waiting = best[state.parts[best] == rung]
        if len(waiting):
            return int(waiting[0]), then
    mean, sd, _ = state.model.end()
    gain = np.where(state.parts > 0, -1.0, state.improvement(mean, sd) / state.land.whole)
    return int(np.argmax(gain)), rungs[0]


def layers(points: np.ndarray) -> np.ndarray:
    """The front that each point is on when those before it are taken away, from 0."""
    layer, left, number = np.zeros(len(points), dtype=int), np.arange(len(points)), 0
    while len(left):
        on = np.asarray(nondominated(points[left]))
        layer[left[on]] = number
        left, number = np.delete(left, np.flatnonzero(on) if on.dtype == bool else on), number + 1
    return layer


def random_horizon(state: State) -> Step:
    """As ifBO: the probability to exceed a random threshold within a random part of the training; then one part."""
    horizon = int(state.rng.integers(1, PARTS + 1))
    then = np.minimum(state.parts + horizon, PARTS)
    mean, sd, _ = state.model.true(state.model.dimensions - PARTS - 1 + then)
    scores, macs, worst = state.front
    at_most = np.where(macs[None] <= state.land.macs[:, None], scores[None], worst).max(axis=1)
    level = at_most + (1.0 - at_most) * 10 ** state.rng.uniform(-4, -1)
    chance = np.where(state.parts == PARTS, -1.0, ndtr((mean - level) / sd))
    arch = int(np.argmax(chance))
    return arch, int(state.parts[arch]) + 1


#: What is compared beside the tool as it is.
POLICIES: dict[str, Callable[[State], Step]] = {
    "to the end": to_the_end,
    "early stopping": early_stopping,
    "freeze-thaw": freeze_thaw,
    "freeze-thaw, no look ahead": functools.partial(freeze_thaw, peek=False),
    "freeze without thaw": functools.partial(freeze_thaw, again=False),
    "freeze without thaw, no look ahead": functools.partial(freeze_thaw, peek=False, again=False),
    "screening": screening,
    "promotion": promotion,
    "random horizon": random_horizon,
}
#: The tool's own searches, by name of the rule of early stopping.
TOOL = {"cost_aware": "none", "cost_aware + early stopping": "model:0.9"}
#: What all are compared with: what the tool does, in kind.
BESIDE = "early stopping"
#: Policies that need a short schedule.
NEED_SHORT = ("screening",)


def replayed(where: Land, rule: str, seed: int) -> list[tuple[float, int]]:
    """The tool's own search; as ``simulated``."""
    mean = float(where.whole.mean())
    trials = stopping.replay(where.curves, rule, "cost_aware", seed, max(COSTS) * mean)
    places = {where.curves.space.arch(p).key: i for i, p in enumerate(where.curves.space.grid())}
    spent = np.cumsum([trial.evaluation.seconds["train"] for trial in trials]).tolist()
    return [(end, places[t.arch.key]) for t, end in zip(trials, spent, strict=True) if t.state == "complete"]


def simulated(where: Land, policy: Callable[[State], Step], seed: int) -> list[tuple[float, int]]:
    """Seconds spent and architecture at the end of every complete training."""
    state = State(where, Joint(where), np.random.default_rng([seed, 1]))
    limit, spent, ends = max(COSTS) * float(where.whole.mean()), 0.0, list[tuple[float, int]]()
    first = iter(far_apart(where, state.rng))
    while spent <= limit:
        if len(ends) < START:
            arch, then = next(first), PARTS
            if policy is screening:
                spent += where.seconds[arch, 0]
                state.screened[arch] = True
                state.model.observe(arch, 0)
        else:
            state.model.condition()
            arch, then = policy(state)
        offset = state.model.dimensions - PARTS - 1
        if then == 0:
            state.screened[arch] = True
            spent += where.seconds[arch, 0]
            state.model.observe(arch, 0)
            continue
        for part in range(state.parts[arch] + 1, then + 1):
            spent += where.seconds[arch, offset + part]
            state.model.observe(arch, offset + part)
        state.parts[arch], state.latest = then, arch
        if then == PARTS:
            ends.append((spent, arch))
    return ends


def far_apart(where: Land, rng: np.random.Generator) -> Iterator[int]:
    """Architectures, each the farthest from those before among 32 random ones, as the tool begins."""
    taken = [int(rng.integers(len(where.truth)))]
    while True:
        yield taken[-1]
        rivals = rng.choice(len(where.truth), 32, replace=False)
        apart = np.square(where.features[rivals, None] - where.features[None, taken]).sum(axis=2).min(axis=1)
        taken.append(int(rivals[apart.argmax()]))


def estimated(short: str, long: str, path: Path = SCHEDULES) -> Short:
    """What two schedules have in common, over architectures that were trained twice with both."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["schedule"] in (short, long) and not row["table"]]
    networks, seeds = ([*dict.fromkeys(row[name] for row in rows)] for name in ("network", "seed"))
    found = np.zeros((2, len(networks), len(seeds)))
    for row in rows:
        place = int(row["schedule"] == long), networks.index(row["network"]), seeds.index(row["seed"])
        found[place] = float(row["accuracy"])
    found -= found.mean(axis=1, keepdims=True)  # what a seed does to all architectures
    products = np.einsum("sak,tal->stkl", found, found) / (len(networks) - 1)
    same = np.diagonal(products, axis1=2, axis2=3).mean(axis=2)
    true = (products.sum(axis=(2, 3)) - same * len(seeds)) / (len(seeds) * (len(seeds) - 1))
    sd, rest = np.sqrt(np.diag(true)), np.sqrt(np.diag(same - true))
    cost = [float(np.median([float(row["seconds"]) for row in rows if row["schedule"] == s])) for s in (short, long)]
    luck = float((same - true)[0, 1] / rest.prod())
    correlation, deviation, noise = float(true[0, 1] / sd.prod()), float(sd[0] / sd[1]), float(rest[0] / rest[1])
    return Short(cost[0] / cost[1], correlation, deviation, noise, luck)


def schedules(args: argparse.Namespace) -> None:
    """Prints what the lands' short schedules are made of."""
    print("| short | long | cost | correlation | deviation | seeds' | luck |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for short, long in PAIRS.values():
        cells = (f"{value:.2f}" for value in dataclasses.astuple(estimated(short, long)))
        print(f"| {short} | {long} | {' | '.join(cells)} |")


def searched(name: str, policy: str, seed: int) -> list[float]:
    """Confirmed hypervolume of a search at each of ``COSTS``."""
    where = land(name, seed)
    if policy in TOOL:
        return where.confirmed(replayed(where, TOOL[policy], seed))
    return where.confirmed(simulated(where, POLICIES[policy], seed))


def cases(lands: Sequence[str], only: Sequence[str]) -> list[tuple[str, str]]:
    """Lands and policies: what uses no short schedule would do the same on a land with one as on ``curves``."""
    chosen = [policy for policy in (*POLICIES, *TOOL) if not only or policy in only]
    return [(name, policy) for name in lands for policy in chosen if (SHORT[name] is None) != (policy in NEED_SHORT)]


def run(args: argparse.Namespace) -> None:
    """Searches what is not among the results yet, seed by seed, so that all policies have the same ones."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results = json.loads(args.results.read_text(encoding="utf-8")) if args.results.exists() else {}
    for seed in map(str, range(args.seeds)):
        for name, policy in cases(args.lands, args.only):
            found = results.setdefault(name, {}).setdefault(policy, {})
            if seed not in found:
                found[seed] = [round(share, 4) for share in searched(name, policy, int(seed))]
        args.results.write_text(json.dumps(results), encoding="utf-8")
        print(f"seed {seed}", file=sys.stderr, flush=True)
    show(args)


def show(args: argparse.Namespace) -> None:
    """Prints the table."""
    print("\n".join(markdown(json.loads(args.results.read_text(encoding="utf-8")))))


def markdown(results: dict[str, dict[str, dict[str, list[float]]]]) -> list[str]:
    """All policies, each against ``BESIDE`` on the seeds of both, the mean over ``COSTS``."""
    heads = "".join(f" {cost} |" for cost in COSTS)
    lines = [f"| land | policy |{heads} minus {BESIDE} (95 %) | wins | seeds |"]
    lines.append("| --- | --- |" + " ---: |" * (len(COSTS) + 3))
    for name, policies in results.items():
        beside = results["quiet" if name == "quiet" else "curves"][BESIDE]
        for policy, found in sorted(policies.items(), key=lambda one: -float(np.mean([*one[1].values()]))):
            shares = "".join(f" {share:.3f} |" for share in np.mean([*found.values()], axis=0))
            gains = np.array([np.mean(found[seed]) - np.mean(beside[seed]) for seed in found if seed in beside])
            lines.append(f"| {name} | {policy} |{shares} {against(gains)} | {len(found)} |")
    return lines


def against(gains: np.ndarray) -> str:
    """The mean with its interval by Student's t, and how many of those that differ are won; blank for no difference."""
    if not gains.any():
        return " | "
    half = student(0.975, len(gains) - 1) * float(gains.std(ddof=1)) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    mean = float(gains.mean())
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f}) | {wins} of {wins + losses}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("--lands", nargs="+", choices=[*SHORT], default=[*SHORT])
    verb.add_argument("--only", nargs="+", choices=[*POLICIES, *TOOL], default=[], help="policies; all without it")
    verb.add_argument("--seeds", type=int, default=24)
    verb.add_argument("--results", type=Path, default=RESULTS)
    verb.set_defaults(run=run)
    verb = verbs.add_parser("show")
    verb.add_argument("--results", type=Path, default=RESULTS)
    verb.set_defaults(run=show)
    verbs.add_parser("schedules").set_defaults(run=schedules)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
