"""What should not be in data: keys, tokens, card and account numbers, e-mail addresses.

A short list of formats that their makers document, each with a beginning or a checksum that
ordinary text does not have. It finds likely secrets, not all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.report import Code

REDACTED = "[redacted]"
_PARTED = "\0"  # stands between two texts; no pattern takes it


def _token(beginning: str, rest: str) -> re.Pattern[str]:
    """A token that begins with fixed characters and stands by itself.

    The look behind comes after them: a pattern that begins with a literal is searched for much
    faster.
    """
    escaped = re.escape(beginning)
    return re.compile(f"{escaped}(?<![A-Za-z0-9_]{escaped}){rest}(?![A-Za-z0-9])")


_KEYS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a private key", re.compile(
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"
        r"(?:[^\0]*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|[^\0]*)"
    )),
    ("an AWS access key", _token("AKIA", "[0-9A-Z]{16}")),
    ("an AWS access key", _token("ASIA", "[0-9A-Z]{16}")),
    ("a GitHub token", _token("gh", "[pousr]_[A-Za-z0-9]{36,255}")),
    ("a GitHub token", _token("github_pat_", "[A-Za-z0-9_]{50,255}")),
    ("a GitLab token", _token("glpat-", "[A-Za-z0-9_-]{20,64}")),
    ("a Slack token", _token("xox", "[abeoprs]-[A-Za-z0-9-]{10,255}")),
    ("a Google API key", _token("AIza", "[0-9A-Za-z_-]{35}")),
    ("an API key", _token("sk-", r"(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{20,255}")),
    ("a Stripe key", _token("sk_live_", "[0-9A-Za-z]{16,255}")),
    ("a Stripe key", _token("rk_live_", "[0-9A-Za-z]{16,255}")),
    ("a Hugging Face token", _token("hf_", "[A-Za-z0-9]{34,64}")),
    ("a PyPI token", _token("pypi-AgEI", "[A-Za-z0-9_-]{50,255}")),
    ("an npm token", _token("npm_", "[A-Za-z0-9]{36}")),
    ("a SendGrid key", _token("SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")),
    ("a JSON web token", _token(
        "eyJ", r"[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    )),
    ("a password in an address", re.compile(r"://[^/\s:@\0]+:[^/\s:@\0]+@(?=[A-Za-z0-9])")),
)  # fmt: skip
_DIGITS = re.compile(r"[0-9](?:[ -]?[0-9]){12,}")
_GROUP = re.compile(r"[0-9]+")
# How card numbers are written and printed, in groups or in one.
_CARD_GROUPS = {
    *((size,) for size in range(13, 20)),
    *((4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4)),
}
_MOST_GROUPS = max(map(len, _CARD_GROUPS))
_ACCOUNT = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?")
_ADDRESS = re.compile(r"@(?<=[A-Za-z0-9._%+-]@)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}")
_MAILBOX = re.compile(r"[A-Za-z0-9._%+-]+$")
_CARDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}"
)


@dataclass(frozen=True)
class Secret:
    """A likely secret in a text.

    Attributes:
        code: Its kind of finding.
        name: What it is, such as "an AWS access key".
        start: Its first character.
        stop: One past its last.
    """

    code: Code
    name: str
    start: int
    stop: int


class SecretFinder:
    """Looks for secrets in prompts and responses.

    Args:
        findings (Findings): Takes what is found.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def look(self, batch: Batch) -> None:
        """Look at some rows: at all their texts in one, which is several times as fast."""
        for name, texts in (("prompt", batch.prompts), ("response", batch.responses)):
            joined = _PARTED.join(texts)
            found = list(secrets(joined))
            if not found:
                continue
            starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
            for secret in found:
                index = int(np.searchsorted(starts, secret.start, "right")) - 1
                value = joined[secret.start : secret.stop]
                self._findings.add(
                    secret.code,
                    batch.split,
                    batch.first + index,
                    batch.rows[index],
                    f"{name}: {secret.name}, {masked(value)}.",
                )


def secrets(text: str) -> Iterator[Secret]:
    """All likely secrets of a text."""
    for name, pattern in _KEYS:
        for match in pattern.finditer(text):
            yield Secret("secret", name, *match.span())
    for match in _DIGITS.finditer(text):
        for start, stop in _cards(match):
            yield Secret("card-number", "a card number", start, stop)
    for match in _ACCOUNT.finditer(text):
        if _is_alone(text, *match.span()) and _is_account(match[0]):
            yield Secret("card-number", "an account number (IBAN)", *match.span())
    for match in _ADDRESS.finditer(text):
        mailbox = _MAILBOX.search(text, max(0, match.start() - 64), match.start())
        start = mailbox.start() if mailbox else match.start()
        yield Secret("e-mail", "an address", start, match.end())


def redact(text: str) -> str:
    """A text without keys, tokens, card and account numbers; e-mail addresses stay."""
    pieces = []
    position = 0
    for secret in sorted(secrets(text), key=lambda secret: (secret.start, -secret.stop)):
        if secret.code != "e-mail" and secret.stop > position:
            if secret.start >= position:
                pieces += [text[position : secret.start], REDACTED]
            position = secret.stop
    return "".join(pieces) + text[position:]


def masked(value: str) -> str:
    """A secret that may be shown: its first four characters and its length."""
    return f"{value[:4]}... ({len(value)} characters)"


def _is_alone(text: str, start: int, stop: int) -> bool:
    """Whether a run of letters and digits is not part of a longer one."""
    before, behind = text[start - 1 : start], text[stop : stop + 1]
    return not (before.isalnum() or behind.isalnum())


def _cards(run: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Where card numbers stand in a run of digits: all of it, or groups beside other numbers."""
    if _is_card(run[0]) and _is_alone(run.string, *run.span()):
        yield run.span()
        return
    groups = [group.span() for group in _GROUP.finditer(run.string, *run.span())]
    first = 0
    while first < len(groups):
        for last in range(min(first + _MOST_GROUPS, len(groups)) - 1, first - 1, -1):
            sizes = tuple(stop - start for start, stop in groups[first : last + 1])
            start, stop = groups[first][0], groups[last][1]
            is_card = sizes in _CARD_GROUPS and _is_card(run.string[start:stop])
            # The run may begin or end within a word, as in `q4 4111 ...`.
            if is_card and _is_alone(run.string, start, stop):
                yield start, stop
                first = last
                break
        first += 1


def _is_card(text: str) -> bool:
    """Whether digits are a number that a card issuer gives out, by its beginning and Luhn's sum."""
    digits = [int(mark) for mark in text if mark.isdigit()]
    if not _CARDS.fullmatch("".join(map(str, digits))) or len(set(digits)) < 2:
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _is_account(text: str) -> bool:
    """Whether a text has the checksum of an IBAN."""
    compact = text.replace(" ", "")
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
