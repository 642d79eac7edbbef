"""Which label does a model give a row? Exact search over a trie of the labels, best first.

A label's score is the summed log-probability of its tokens and the end token. A beginning of a
label is never worse than the whole, so as soon as a whole label beats every open beginning, it has
won: after training that takes one or two steps, whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

LogProbabilities = npt.NDArray[np.floating]
Path = tuple[int, ...]


@dataclass
class _Node:
    """A beginning of one or more labels."""

    path: Path
    children: dict[int, _Node] = field(default_factory=dict)
    label: int | None = None


class LabelTrie:
    """The labels of a task, in tokens.

    Args:
        labels (Sequence[Sequence[int]]): Each label's tokens with the end token.

    Raises:
        ValueError: Two labels have the same tokens.
    """

    def __init__(self, labels: Sequence[Sequence[int]]) -> None:
        self.labels = [tuple(label) for label in labels]
        self.root = _Node(())
        for index, label in enumerate(self.labels):
            node = self.root
            for depth, token in enumerate(label, start=1):
                node = node.children.setdefault(token, _Node(label[:depth]))
            if node.label is not None:
                raise ValueError(f"labels {node.label} and {index} have the same tokens {label}")
            node.label = index

    def inner_paths(self) -> list[Path]:
        """The beginnings of labels that something follows, shorter ones first."""
        paths = {label[:depth] for label in self.labels for depth in range(1, len(label))}
        return sorted(paths, key=lambda path: (len(path), path))


class LabelSearch:
    """The search for one row's label.

    The caller feeds log-probabilities: first those behind the row's text, then those behind each
    path that `next_path` asks for, until it returns None.

    Args:
        trie (LabelTrie): The labels.
        text_log_probabilities (LogProbabilities): [V], behind the row's text.
        is_exhaustive (bool): Whether to go on until every label has its score.
    """

    def __init__(
        self,
        trie: LabelTrie,
        text_log_probabilities: LogProbabilities,
        is_exhaustive: bool = False,
    ) -> None:
        self._is_exhaustive = is_exhaustive
        self._open: list[tuple[float, _Node]] = []
        self.scores: dict[int, float] = {}
        self._expand(trie.root, 0.0, text_log_probabilities)

    @property
    def best(self) -> int:
        """The best whole label so far."""
        return max(self.scores, key=lambda label: self.scores[label])

    @property
    def all_scores(self) -> list[float]:
        """Every label's score, in the labels' order, once an exhaustive search is through."""
        return [self.scores[label] for label in range(len(self.scores))]

    def next_path(self) -> Path | None:
        """The label beginning whose continuation decides next, or None when the winner is known."""
        if not self._open or not self._may_win(self._open[0][0]):
            return None
        return self._open[0][1].path

    def wanted(self, num_paths: int, known: Collection[Path]) -> list[Path]:
        """The label beginnings that are most likely to be asked for, shorter ones first.

        Args:
            num_paths (int): At most so many; besides, their own beginnings come with them.
            known (Collection[Path]): Beginnings that need not come again.
        """
        paths = [node.path for score, node in self._open[:num_paths] if self._may_win(score)]
        beginnings = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        return sorted(beginnings.difference(known), key=lambda path: (len(path), path))

    def feed(self, log_probabilities: LogProbabilities, path: Path | None = None) -> None:
        """Give the log-probabilities [V] behind a path.

        Args:
            log_probabilities (LogProbabilities): [V].
            path (Path | None): Any path; one that is not open changes nothing. Left out: the one
                that `next_path` returned.
        """
        for position, (score, node) in enumerate(self._open):
            if path is None or node.path == path:
                del self._open[position]
                self._expand(node, score, log_probabilities)
                return

    def _may_win(self, score: float) -> bool:
        return self._is_exhaustive or not (self.scores and max(self.scores.values()) >= score)

    def _expand(self, node: _Node, score: float, log_probabilities: LogProbabilities) -> None:
        for token, child in node.children.items():
            reached = score + float(log_probabilities[token])
            if child.label is not None:
                self.scores[child.label] = reached
            else:
                self._open.append((reached, child))
        self._open.sort(key=lambda item: -item[0])


def label_probabilities(scores: Sequence[float]) -> npt.NDArray[np.float64]:
    """The probability of each label, given that the answer is one of them.

    Args:
        scores (Sequence[float]): Log-probabilities of all labels, each with its end token.
    """
    shifted = np.exp(np.asarray(scores, np.float64) - max(scores))
    probabilities: npt.NDArray[np.float64] = shifted / shifted.sum()
    return probabilities


def exhaustive_scores(
    trie: LabelTrie, log_probabilities_behind: Callable[[Path], LogProbabilities]
) -> list[float]:
    """Every label's score, the long way: for reports that need all of them.

    Args:
        trie (LabelTrie): The labels.
        log_probabilities_behind (Callable): Gives [V] behind a path; asked once for each path.
    """
    known: dict[Path, LogProbabilities] = {}
    scores = []
    for label in trie.labels:
        total = 0.0
        for depth, token in enumerate(label):
            path = label[:depth]
            if path not in known:
                known[path] = log_probabilities_behind(path)
            total += float(known[path][token])
        scores.append(total)
    return scores
