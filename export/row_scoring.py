"""The labels of many rows at once: rows, and the labels behind them, share one sequence.

Legend: N wanted positions, V vocabulary.

What is left of a row's search after its text costs one token a label beginning, so where there are
few, they are read together with the text; where there are many, best first, for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from export.labels import LabelSearch, LabelTrie, Path
from export.sampling import log_sum_exp
from export.session import DecoderSession
from export.token_forest import Chain, TokenForest

# Above it the keys of other rows, hidden but computed, cost more than large products save.
_MAX_PACKED_TOKENS = 256
# Label beginnings that are read with the text, whether they will be asked for or not.
MAX_EAGER_PATHS = 4
_PATHS_A_ROUND = 2  # of a row where they are read best first
_EXHAUSTIVE_PATHS = 16  # of a row a round where all of them are read


def pack_limit(context_length: int, prefix_length: int) -> int:
    """The most tokens of texts in a pack; as many are left for labels in a short context.

    Args:
        context_length (int): Positions that the model has.
        prefix_length (int): Tokens of the prefix.
    """
    return min(_MAX_PACKED_TOKENS, (context_length - prefix_length) // 2)


@dataclass(frozen=True)
class RowLabel:
    """What a row's search found.

    Attributes:
        label: The label's number.
        log_probability: Of its tokens and the end token.
        all_scores: The same of every label, where all were asked for.
    """

    label: int
    log_probability: float
    all_scores: tuple[float, ...] = ()


@dataclass
class _Row:
    """A row of a pack: its search, and where its last token and its label beginnings stand."""

    ends: dict[Path, int]
    search: LabelSearch | None = None


def packs(rows: Sequence[list[int]], max_tokens: int) -> Iterator[list[int]]:
    """Numbers of rows that fit together, in the rows' order; a row that is longer comes alone."""
    pack: list[int] = []
    num_tokens = 0
    for number, row in enumerate(rows):
        if pack and num_tokens + len(row) > max_tokens:
            yield pack
            pack, num_tokens = [], 0
        pack.append(number)
        num_tokens += len(row)
    if pack:
        yield pack


def text_packs(
    session: DecoderSession,
    texts: Sequence[list[int]],
    lead_ids: list[int],
    prefix_length: int,
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Numbers of texts that share a sequence, pack by pack, and their tokens behind the lead.

    There is none where the graph takes one sequence at a time. A text is in none where it does not
    begin like the template or fills the context.

    Args:
        session (DecoderSession): The graph.
        texts (Sequence[list[int]]): Whole requests in tokens, without the virtual tokens.
        lead_ids (list[int]): The template's first tokens, which the prefix ends with.
        prefix_length (int): Tokens of the prefix.
    """
    if not session.takes_layout or not prefix_length:
        return  # behind an empty cache `GroupQueryAttention` counts the positions itself
    limit = pack_limit(session.shape.context_length, prefix_length)
    behind = {
        number: ids[len(lead_ids) :]
        for number, ids in enumerate(texts)
        if len(lead_ids) < len(ids) <= len(lead_ids) + limit and ids[: len(lead_ids)] == lead_ids
    }
    numbers = sorted(behind, key=lambda number: len(behind[number]))
    for pack in packs([behind[number] for number in numbers], limit):
        members = [numbers[index] for index in pack]
        yield members, [behind[number] for number in members]


def label_pack(
    session: DecoderSession,
    trie: LabelTrie,
    rows: Sequence[list[int]],
    prefix_length: int,
    with_all_scores: bool = False,
) -> list[RowLabel]:
    """The most likely label of each row, exactly.

    Args:
        session (DecoderSession): A graph that takes a layout; its cache holds the prefix.
        trie (LabelTrie): The labels.
        rows (Sequence[list[int]]): The rows' tokens behind the prefix, at least one each.
        prefix_length (int): Tokens of the prefix.
        with_all_scores (bool): Whether to score every label.

    Raises:
        RowError: The rows are longer together than the model's context.
    """
    return _Pack(session, trie, rows, prefix_length, with_all_scores).labels()


class _Pack:
    """Rows that are labelled together."""

    def __init__(
        self,
        session: DecoderSession,
        trie: LabelTrie,
        rows: Sequence[list[int]],
        prefix_length: int,
        with_all_scores: bool,
    ) -> None:
        self.with_all_scores = with_all_scores
        self.session = session
        self.trie = trie
        self.texts = rows
        self.forest = TokenForest(prefix_length)
        self.prefix_length = prefix_length
        self.rows = [_Row({}) for _ in rows]

    def labels(self) -> list[RowLabel]:
        paths = self.trie.inner_paths()
        self._read_texts(paths if len(paths) <= MAX_EAGER_PATHS else [])
        while wanted := self._asked_for():
            self._read_paths(wanted)
        return [self._found(row) for row in self.rows]

    def _read_texts(self, paths: list[Path]) -> None:
        """Read all texts, each with these label beginnings behind it."""
        ids: list[int] = []
        chains: list[Chain] = []
        asked: list[tuple[_Row, Path]] = []
        for row, text in zip(self.rows, self.texts, strict=True):
            chains.append(Chain(len(text)))
            ids += text
            row.ends[()] = len(ids) - 1
            asked.append((row, ()))
            for path in paths:
                chains.append(Chain(1, row.ends[path[:-1]]))
                ids.append(path[-1])
                row.ends[path] = len(ids) - 1
                asked.append((row, path))
        self._forward(ids, chains, asked)

    def _asked_for(self) -> list[tuple[_Row, Path]]:
        """What the searches of undecided rows ask for next."""
        num_paths = _EXHAUSTIVE_PATHS if self.with_all_scores else _PATHS_A_ROUND
        return [
            (row, path)
            for row in self.rows
            if row.search is not None
            for path in row.search.wanted(num_paths, row.ends)
        ]

    def _read_paths(self, wanted: list[tuple[_Row, Path]]) -> None:
        """Read label beginnings, each behind its own beginning."""
        first = self.forest.length - self.prefix_length
        chains = []
        for number, (row, path) in enumerate(wanted):
            chains.append(Chain(1, row.ends[path[:-1]]))
            row.ends[path] = first + number
        self._forward([path[-1] for _, path in wanted], chains, wanted)

    def _forward(self, ids: list[int], chains: list[Chain], asked: list[tuple[_Row, Path]]) -> None:
        """Run new tokens and give the searches the log-probabilities behind what they asked for."""
        position = self.forest.length
        layout = self.forest.extend(chains)
        first = position - self.prefix_length
        wanted = [row.ends[path] - first for row, path in asked]
        logits_NV = self.session.forward(ids, position, wanted, layout=layout)
        log_probabilities_NV = logits_NV - log_sum_exp(logits_NV)
        for (row, path), log_probabilities in zip(asked, log_probabilities_NV, strict=True):
            if row.search is None:
                row.search = LabelSearch(self.trie, log_probabilities, self.with_all_scores)
            else:
                row.search.feed(log_probabilities, path)

    def _found(self, row: _Row) -> RowLabel:
        assert row.search is not None
        return row_label(row.search, self.with_all_scores)


def row_label(search: LabelSearch, with_all_scores: bool) -> RowLabel:
    """What a search found.

    Args:
        search (LabelSearch): It is through.
        with_all_scores (bool): Whether it was exhaustive.
    """
    scores = tuple(search.all_scores) if with_all_scores else ()
    return RowLabel(search.best, search.scores[search.best], scores)
