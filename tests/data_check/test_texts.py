"""Damaged texts and secrets: what is found, what is left alone, and what mending makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data_check.check import Check
from ptune_tui.data_check.encodings import faults, repair
from ptune_tui.data_check.report import DataReport
from ptune_tui.data_check.secrets import masked, redact, secrets
from ptune_tui.data_check.source import SplitFile
from ptune_tui.errors import DataError
from tests.data_check.conftest import Checker, places

CLEAN = [
    "plain text, with a tab\tand a\nline break",
    "naïve café, straße, Ångström, “quotes” – and a dash…",
    "北京是中国的首都。",
    "привет, как дела?",
    "مرحبا بالعالم",
    "می‌خواهم",  # a joiner that Persian needs
    "👩‍👩‍👧 and 🇩🇪 ☕️",
    "हिन्दी में लिखा",
]


@pytest.mark.parametrize("text", CLEAN)
def test_good_texts_of_many_languages_are_left_alone(text: str) -> None:
    assert list(faults(text)) == []
    assert repair(text) == text


@pytest.mark.parametrize(
    ("text", "code", "mended"),
    [
        ("cafÃ© au lait", "mojibake", "café au lait"),
        ("itâ€™s here", "mojibake", "it’s here"),
        ("he\x92s here", "mojibake", "he’s here"),
        ("bell\x07 rings", "control-character", "bell rings"),
        ("nul\x00 byte", "control-character", "nul byte"),
        ("lost \ufffd letter", "replacement-character", "lost \ufffd letter"),
        ("zero\u200bwidth", "invisible-character", "zerowidth"),
        ("\ufeffmarked", "invisible-character", "marked"),
        ("cafe\u0301", "normal-form", "café"),
    ],
)
def test_damage_is_named_and_mended(text: str, code: str, mended: str) -> None:
    assert [found for found, _ in faults(text)] == [code]
    assert repair(text) == mended
    assert repair(mended) == mended


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        ("ghp_" + "a1B2" * 9, "a GitHub token"),
        ("github_pat_" + "11AAAAAAA0" * 8, "a GitHub token"),
        ("glpat-" + "x1" * 10, "a GitLab token"),
        ("xoxb-123456789012-abcdef", "a Slack token"),
        ("AIza" + "Sy0aB" * 7, "a Google API key"),
        ("sk-proj-" + "a1B2c3" * 6, "an API key"),
        ("sk_live_" + "a1" * 12, "a Stripe key"),
        ("hf_" + "aB" * 17, "a Hugging Face token"),
        ("npm_" + "a1B2c3" * 6, "an npm token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.c2lnbmF0dXJlMTIz", "a JSON web token"),
        ("://user:hunter2@", "a password in an address"),
        ("4111 1111 1111 1111", "a card number"),
        ("378282246310005", "a card number"),
        ("3782 822463 10005", "a card number"),
        ("DE89 3704 0044 0532 0130 00", "an account number (IBAN)"),
        ("GB82WEST12345698765432", "an account number (IBAN)"),
    ],
)
def test_secrets_are_found_named_and_redacted(value: str, name: str) -> None:
    text = f"see {value}host for it" if value.startswith("://") else f"see {value}, for it"
    found = [secret for secret in secrets(text) if secret.code != "e-mail"]
    assert [secret.name for secret in found] == [name]
    assert text[found[0].start : found[0].stop] == value
    assert value not in redact(text)
    assert "[redacted]" in redact(text)
    assert value[5:] not in masked(value)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112",  # the last digit is wrong
        "order 1234567890123",
        "0000000000000000",
        "number 94111111111111111119",
        "DE89 3704 0044 0532 0130 01",
        "learn sk-learn-and-all-the-other-things",
        "AKIA is a prefix",
        "meet me @ noon, or @home",
        "http://example.org/a:b@c",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_only_looks_like_a_secret_is_left_alone(text: str) -> None:
    assert list(secrets(text)) == []
    assert redact(text) == text


@pytest.mark.parametrize("behind", [" 123", "-123", " 1234", " 12 27 123", " 5500 0000 0000 0004"])
def test_a_card_number_is_found_beside_other_numbers(behind: str) -> None:
    number = "4111 1111 1111 1111"
    found = [secret for secret in secrets(f"order 77 {number}{behind} x") if secret.start == 9]
    assert [(secret.name, secret.stop) for secret in found] == [("a card number", 28)]
    assert "4111" not in redact(f"card {number}{behind}")
    assert redact("4111111111111111 123") == "[redacted] 123"
    assert redact(f"q4 {number} 12x") == "q4 [redacted] 12x"


def test_a_private_key_goes_with_all_its_lines() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"
    assert redact(f"before\n{key}\nafter") == "before\n[redacted]\nafter"
    assert redact("-----BEGIN PRIVATE KEY-----\nMIIEow") == "[redacted]"


def test_findings_name_the_right_row_and_never_show_the_value(check: Checker) -> None:
    rows = [(f"text {number}", "x") for number in range(9)]
    rows[4] = ("my key is AKIAIOSFODNN7EXAMPLE", "x")
    rows[7] = ("write to jane.doe@example.org", "x")
    report = check(rows).report
    assert places(report, "secret") == [("training", 5)]
    assert places(report, "e-mail") == [("training", 8)]
    sentences = [place.message for found in report.findings for place in found.places]
    assert not any("IOSFODNN" in text or "doe@" in text for text in sentences)


def check_text(folder: Path, text: bytes, name: str = "rows.jsonl") -> DataReport:
    path = folder / name
    path.write_bytes(text)
    files = [SplitFile("training", path)]
    return Check(files, DataConfig(train=str(path)), None, 5, lambda *_: None).run().report


def test_a_name_twice_in_an_object_is_a_warning(tmp_path: Path) -> None:
    good = b'{"prompt": "a: \\": b", "response": "x", "more": {"id": 1.5}}'
    twice = b'{"prompt": "one", "response": "x", "response" : "y"}'
    inside = b'{"prompt": "two", "response": "x", "more": [{"id": 1, "id": 2}]}'
    report = check_text(tmp_path, b"\n".join([good, twice, inside, b'{"prompt": NaN}']))
    (found,) = [each for each in report.findings if each.code == "repeated-name"]
    assert [(place.line, place.message) for place in found.places] == [
        (2, "`response` stands twice in this object; its last value counts."),
        (3, "`id` stands twice in this object; its last value counts."),
    ]
    assert found.severity == "warning"
    assert report.splits[0].num_rows == 3
    array = b"[" + b", ".join([good, twice]) + b"]"
    report = check_text(tmp_path, array, "rows.json")
    (found,) = [each for each in report.findings if each.code == "repeated-name"]
    assert found.places[0].place.endswith("rows.json:1, item 2")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (b"", "has no rows", "Types that can be read: JSONL"),
        (b'{"prompt": "caf\xe9", "response": "x"}', "byte 0xe9 is not UTF-8", "Save the file as"),
        (b'{"prompt": "a", "response": NaN}', "NaN is no number there", "Write null"),
        (b'{"prompt": "a", "response": -Infinity}', "Infinity is no number", "Write null"),
        (b'{"prompt": "a", "other": "b"}', "no `response`", "Name the columns with"),
    ],
)
def test_a_file_without_a_usable_row_is_told_what_its_first_fault_needs(
    tmp_path: Path, text: bytes, message: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        check_text(tmp_path, text)
    assert message in caught.value.message
    assert hint in caught.value.hint
