"""Simulates users and videos such that every reaction has a known probability.

A task's logit for a user and a video is

    logit[t] = bias[t] + sum_f weight[f, t] * user[u, f] * video[v, f]
             + effects of the video's length, of the tab, and a trend over days of the video's tag

with three kinds of factors: tastes and levels ('likes everything', 'is liked by all'), which are
shared by the tasks of a category, and one factor per task. A user's tastes depend partly on an
observed group, a video's on its observed tag and author; the rest is individual and can be learned
from ids and past events. Users, videos and authors are Zipf-distributed.

The rows depend only on the seed and on the numbers of rows, users and videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.io.arrays import Float32Array, IntArray


@dataclass(frozen=True, slots=True)
class PlantedTask:
    """A simulated task: its rate, and the weights in its logit."""

    name: str
    category: str
    rate: float
    taste: float  # these four are per standard deviation
    level: float
    specific: float
    length: float  # of the log of the duration


TASKS = (
    PlantedTask("click", "watch", 0.45, taste=1.3, level=0.7, specific=0.15, length=-0.1),
    PlantedTask("long_view", "watch", 0.30, taste=1.3, level=0.7, specific=0.15, length=0.2),
    PlantedTask("finish", "watch", 0.16, taste=1.2, level=0.6, specific=0.15, length=-0.7),
    PlantedTask("like", "interact", 0.017, taste=1.0, level=0.7, specific=0.3, length=0),
    PlantedTask("comment_enter", "interact", 0.04, taste=0.9, level=0.7, specific=0.3, length=0.2),
    PlantedTask("profile_enter", "interact", 0.02, taste=1.0, level=0.7, specific=0.3, length=0),
)
CATEGORIES = ("watch", "interact")
# Sources of a taste, by standard deviation. Its mean is not 0, so that the topic of a video has an
# average effect: from products only, networks learn late and suddenly.
USER_TASTE = {"mean": 0.5, "group": 0.9, "specific": 0.44}
VIDEO_TASTE = {"tag": 0.9, "author": 0.3, "specific": 0.3}

NUM_DAYS = 10
DAY_MS = 86_400_000
START_MS = 1_650_556_800_000  # 2022-04-22 00:00 in China
NUM_GROUPS = 8
NUM_TAGS = 16
NUM_TABS = 5
BLOCK = 65_536  # rows drawn from one random generator

# Independent streams of random numbers, so that each can be redrawn without the others.
_EFFECTS, _USERS, _VIDEOS, _CALIBRATION, _WHO, _WHAT = range(6)


class Impressions(NamedTuple):
    """Impressions [N] in time order, with their true probabilities."""

    user: IntArray
    video: IntArray
    tab: IntArray
    time_ms: IntArray
    probability: Float32Array  # [N, T]
    label: NDArray[np.bool_]  # [N, T]


class PlantedWorld:
    """The simulated world. Arrays `user_*` are [U], `video_*` [V]."""

    def __init__(self, seed: int, num_rows: int, num_users: int, num_videos: int) -> None:
        self.num_rows, self.num_users, self.num_videos = num_rows, num_users, num_videos
        self.num_authors = max(1, num_videos // 4)
        self._seed = seed
        self._plant_effects()
        self._plant_users()
        self._plant_videos()
        self._bias = self._find_bias()

    @property
    def num_blocks(self) -> int:
        return -(-self.num_rows // BLOCK)

    def who_and_what(self, block: int) -> tuple[IntArray, IntArray]:
        """Return only users and videos of a block's rows, for counting ids."""
        return self._pairs(self._random(_WHO, block), self._size(block))

    def draw(self, blocks: range) -> Impressions:
        """Return all rows of some blocks, concatenated."""
        drawn = [self._draw(block) for block in blocks]
        return Impressions(*(np.concatenate(column) for column in zip(*drawn, strict=True)))

    def _draw(self, block: int) -> Impressions:
        user, video = self.who_and_what(block)
        random = self._random(_WHAT, block)
        tab = (NUM_TABS * random.random(len(user)) ** 2).astype(np.int64)
        time_ms = self.times(block)
        logits = self._bias + self._logits(user, video, tab, (time_ms - START_MS) / DAY_MS)
        probability = _sigmoid(logits)
        label = random.random(logits.shape, dtype=np.float32) < probability
        return Impressions(user, video, tab, time_ms, probability, label)

    def times(self, block: int) -> IntArray:
        """Return the times of a block's rows in ms, ascending, most in the evening."""
        number = block * BLOCK + np.arange(self._size(block))
        even = (number + 0.5) / self.num_rows * NUM_DAYS
        day, clock = np.divmod(even, 1)
        clock += 0.06 * (np.sin(2 * np.pi * (clock - 0.3)) + np.sin(2 * np.pi * 0.3))
        return (START_MS + (day + clock) * DAY_MS).astype(np.int64)

    def _size(self, block: int) -> int:
        return min(BLOCK, self.num_rows - block * BLOCK)

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])

    def _pairs(self, random: np.random.Generator, size: int) -> tuple[IntArray, IntArray]:
        """Draw users and videos; the k-th has a weight of k**-0.4 or k**-0.5."""
        user = self.num_users * random.random(size) ** (1 / 0.6)
        video = self.num_videos * random.random(size) ** (1 / 0.5)
        return user.astype(np.int64), video.astype(np.int64)

    def _plant_effects(self) -> None:
        random = self._random(_EFFECTS)
        self._group_taste = _standard(_normal(random, NUM_GROUPS, len(CATEGORIES)))
        self._tag_taste = _standard(_normal(random, NUM_TAGS, len(CATEGORIES)))
        self._tab_effect = 0.2 * _normal(random, NUM_TABS, len(TASKS))
        self._tag_trend = 0.03 * _normal(random, NUM_TAGS, len(TASKS))
        self._length_effect = np.array([task.length for task in TASKS], dtype=np.float32)
        same = np.array([[task.category == c for task in TASKS] for c in CATEGORIES])  # [C, T]
        taste = np.array([task.taste for task in TASKS])
        level = np.array([task.level for task in TASKS]) / 2**0.5
        # One row per factor: tastes, user levels, video levels, task factors.
        self._weight = np.concatenate(
            [same * taste, same * level, same * level, np.diag([task.specific for task in TASKS])]
        ).astype(np.float32)

    def _plant_users(self) -> None:
        random, size = self._random(_USERS), self.num_users
        self.user_group = random.integers(NUM_GROUPS, size=size)
        personal = _normal(random, size, len(CATEGORIES))
        of_group = self._group_taste[self.user_group]
        taste = (
            USER_TASTE["group"] * of_group + USER_TASTE["specific"] * personal + USER_TASTE["mean"]
        )
        level = _normal(random, size, len(CATEGORIES))
        specific = _normal(random, size, len(TASKS))
        self._user = np.concatenate([taste, level, np.ones_like(level), specific], axis=1)
        # An observed number that explains half of the user's watch level.
        seen = 0.7 * level[:, 0] + 0.7 * _normal(random, size, 1)[:, 0]
        self.user_follows = np.floor(np.exp(4 + seen))
        self.user_register_days = random.integers(10, 2_000, size=size)

    def _plant_videos(self) -> None:
        random, size = self._random(_VIDEOS), self.num_videos
        self.video_author = (self.num_authors * random.random(size) ** 2).astype(np.int64)
        self.video_tag = random.integers(NUM_TAGS, size=size)  # first tag, with effects
        self.video_num_tags = random.integers(1, 4, size=size)
        # Tags of all videos, concatenated. Those after the first have no effect.
        total = self.video_num_tags.sum()
        self.tag_values = NUM_TAGS + random.integers(NUM_TAGS, size=total)
        self.tag_values[np.cumsum(self.video_num_tags) - self.video_num_tags] = self.video_tag
        length = _normal(random, size, 1)[:, 0]
        self.video_duration_s = np.exp(3.3 + length)
        of_author = _normal(random, self.num_authors, len(CATEGORIES))
        personal = _normal(random, size, len(CATEGORIES))
        taste = (
            VIDEO_TASTE["tag"] * self._tag_taste[self.video_tag]
            + VIDEO_TASTE["author"] * of_author[self.video_author]
            + VIDEO_TASTE["specific"] * personal
        )
        level = _normal(random, size, len(CATEGORIES))
        specific = _normal(random, size, len(TASKS))
        self._video = np.concatenate([taste, np.ones_like(level), level, specific], axis=1)
        self._video_effect = length[:, None] * self._length_effect
        self.video_age_days = random.integers(0, 30, size=size)  # on day 0

    def _logits(
        self, user: IntArray, video: IntArray, tab: IntArray, day: NDArray[np.float64]
    ) -> Float32Array:
        """Return logits [N, T] without the biases. `day` may be fractional."""
        logits: Float32Array = (self._user[user] * self._video[video]) @ self._weight
        logits += self._video_effect[video] + self._tab_effect[tab]
        trend = (day - NUM_DAYS / 2).astype(np.float32)
        logits += trend[:, None] * self._tag_trend[self.video_tag[video]]
        return logits

    def _find_bias(self) -> Float32Array:
        """Find the biases [T] for the tasks' rates by bisection on a sample of rows."""
        random = self._random(_CALIBRATION)
        user, video = self._pairs(random, BLOCK)
        tab = (NUM_TABS * random.random(BLOCK) ** 2).astype(np.int64)
        logits = self._logits(user, video, tab, NUM_DAYS * random.random(BLOCK))
        rates = np.array([task.rate for task in TASKS])
        low, high = np.full(len(TASKS), -20.0), np.full(len(TASKS), 20.0)
        for _ in range(30):
            middle = (low + high) / 2
            above = _sigmoid(logits + middle.astype(np.float32)).mean(axis=0) > rates
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return high.astype(np.float32)


def _normal(random: np.random.Generator, *shape: int) -> Float32Array:
    return random.standard_normal(shape, dtype=np.float32)


def _standard(values: Float32Array) -> Float32Array:
    """Scale each column to mean 0 and standard deviation 1, also for few values."""
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _sigmoid(logits: Float32Array) -> Float32Array:
    return np.float32(1) / (np.float32(1) + np.exp(-logits))
