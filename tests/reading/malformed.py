"""A generator of malformed data files, and of odd ones that are good.

A case is the bytes of a file and what they come to: a number of rows, or the line that has to be
named. `None` for the line where the file as a whole is refused: then the file alone is named.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow
from pyarrow import feather, parquet

COUNT = 6
ROWS = [{"prompt": f"text {number} é", "response": "ab"[number % 2]} for number in range(COUNT)]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]
JSONL = "".join(f"{line}\n" for line in LINES)
JSON = json.dumps(ROWS, indent=1, ensure_ascii=False)
CSV = "prompt,response\n" + "".join(f"{row['prompt']},{row['response']}\n" for row in ROWS)
DEEP = 5000


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        name: What is wrong with it.
        file: Its name.
        content: Its bytes.
        rows: How many rows are read; None where it is refused.
        line: The line that is named; 0 where only the file is.
    """

    name: str
    file: str
    content: bytes
    rows: int | None = None
    line: int = 0


def good(name: str, file: str, content: str | bytes, rows: int = COUNT) -> Case:
    return Case(name, file, content.encode() if isinstance(content, str) else content, rows)


def bad(name: str, file: str, content: str | bytes, line: int = 0) -> Case:
    content = content.encode() if isinstance(content, str) else content
    return Case(name, file, content, None, line)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _encodings()
    yield from _json_lines()
    yield from _bad_lines()
    yield from _json_documents()
    yield from _tables()
    yield from _packed()
    yield from _arrow()
    yield from _disguised()
    yield from _shapes()


def _encodings() -> Iterator[Case]:
    for ending, text in ((".jsonl", JSONL), (".json", JSON), (".csv", CSV), (".tsv", _tabs(CSV))):
        file = f"rows{ending}"
        header = ending in (".csv", ".tsv")
        first = 2 if header or ending == ".json" else 1
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"):
            yield bad(f"{encoding} {ending}", file, text.encode(encoding), 1)
        at = 3 if ending == ".json" else first
        latin = text.encode("latin-1")
        yield bad(f"latin-1 {ending}", file, latin, at)
        yield bad(f"half a character {ending}", file, text.encode().replace(b"\xa9", b"", 1), at)
        yield good(f"byte order mark {ending}", file, b"\xef\xbb\xbf" + text.encode())
        yield good(f"crlf {ending}", file, text.replace("\n", "\r\n"))
        yield good(f"no last line end {ending}", file, text.rstrip("\n"))
        yield good(f"blank lines behind {ending}", file, text + "\n\n \n")
        yield bad(f"empty {ending}", file, b"")
        yield bad(f"only a byte order mark {ending}", file, b"\xef\xbb\xbf")
        yield bad(f"only spaces {ending}", file, b" \n \n")
        yield bad(f"NUL bytes instead {ending}", file, b"\0" * 4096, 1)
        yield bad(
            f"NUL bytes behind {ending}", file, text.encode() + b"\0" * 64, text.count("\n") + 1
        )


def _json_lines() -> Iterator[Case]:
    yield good("blank lines between", "rows.jsonl", JSONL.replace("\n", "\n\n"))
    yield good("spaces around objects", "rows.jsonl", JSONL.replace("\n", " \t\n  "))
    yield good("escaped line separators", "rows.jsonl", JSONL.replace("text", "a\u2028b\u0085c"))
    yield good("escaped NUL", "rows.jsonl", JSONL.replace("text", "a\\u0000b"))
    yield good("more fields in some rows", "rows.jsonl", JSONL.replace("}", ', "id": 1}', 3))
    yield good("a huge field", "rows.jsonl", JSONL.replace("text 3", "x" * 3_000_000))
    yield good("a number as a response", "rows.jsonl", JSONL.replace('"a"', "1"))
    yield good("a response in a list", "rows.jsonl", JSONL.replace('"a"', '["a", "b"]'))
    yield bad("lone carriage returns", "rows.jsonl", JSONL.replace("\n", "\r"), 1)
    yield bad("all objects in one line", "rows.jsonl", JSONL.replace("\n", " "), 1)
    yield bad("commas between lines", "rows.jsonl", JSONL.replace("}\n", "},\n"), 1)
    yield bad("an indented object", "rows.jsonl", json.dumps(ROWS[0], indent=1), 1)
    yield bad("only null", "rows.jsonl", "null\n", 1)
    for cut in (3, 11, 17, 24):
        yield bad(
            f"cut at {cut} of the last line", "rows.jsonl", JSONL[: -len(LINES[-1]) - 1 + cut], 6
        )
    packed = JSONL.encode().split(b"\n")
    packed[2] = packed[2][:20] + b"\0\0\0" + packed[2][20:]
    yield bad("NUL bytes inside", "rows.jsonl", b"\n".join(packed), 3)
    packed[2] = b"\0" * 40
    yield bad("a line of NUL bytes", "rows.jsonl", b"\n".join(packed), 3)


def _bad_lines() -> Iterator[Case]:
    """One bad line among good ones, in JSON Lines and in an array."""
    lines = {
        "not JSON": "{not json}",
        "no quotation marks": "{prompt: 1}",
        "single quotation marks": "{'prompt': 'a', 'response': 'b'}",
        "a trailing comma": '{"prompt": "a", "response": "b",}',
        "a missing comma": '{"prompt": "a" "response": "b"}',
        "a missing colon": '{"prompt" "a", "response": "b"}',
        "NaN": '{"prompt": NaN, "response": "b"}',
        "infinity": '{"prompt": "a", "response": -Infinity}',
        "a number too large": '{"prompt": "a", "response": 1e999}',
        "a number with a leading zero": '{"prompt": "a", "response": 01}',
        "Python's None": '{"prompt": None, "response": "b"}',
        "Python's True": '{"prompt": "a", "response": True}',
        "a number as a key": '{1: "a", "prompt": "a", "response": "b"}',
        "a comment": '{"prompt": "a", /* b */ "response": "b"}',
        "an unknown escape": '{"prompt": "\\x41", "response": "b"}',
        "half a surrogate pair": '{"prompt": "\\ud83d", "response": "b"}',
        "a raw tab in a string": '{"prompt": "a\tb", "response": "b"}',
        "a control character": '{"prompt": "a\x01b", "response": "b"}',
        "nested too deep": '{"prompt": ' + "[" * DEEP + "]" * DEEP + ', "response": "b"}',
        "objects nested too deep": '{"a": ' * DEEP + "1" + "}" * DEEP,
        "a list": '["a", "b"]',
        "a string": '"prompt"',
        "a number": "42",
        "null": "null",
        "an empty object": "{}",
        "no response": '{"prompt": "a"}',
        "no prompt": '{"response": "b"}',
        "null as a prompt": '{"prompt": null, "response": "b"}',
        "an object as a prompt": '{"prompt": {"a": "b"}, "response": "b"}',
        "a list of numbers as a prompt": '{"prompt": [1, 2], "response": "b"}',
        "an object as a response": '{"prompt": "a", "response": {"a": 1}}',
        "an empty list as a response": '{"prompt": "a", "response": []}',
        "nothing in a list": '{"prompt": "a", "response": [null]}',
        "an empty prompt": '{"prompt": "", "response": "b"}',
        "only spaces in a prompt": '{"prompt": " \\n ", "response": "b"}',
        "an empty response": '{"prompt": "a", "response": ""}',
        "keys in capitals": '{"PROMPT": "a", "RESPONSE": "b"}',
    }
    for name, line in lines.items():
        among = [*LINES[:3], line, *LINES[3:]]
        yield bad(f"{name} in line 4", "rows.jsonl", "\n".join(among), 4)
        yield bad(f"{name} in an array", "rows.json", "[\n" + ",\n".join(among) + "\n]", 5)
    open_objects = {"two objects": LINES[0] * 2, "an unclosed object": '{"prompt": "a"'}
    open_objects["an unclosed string"] = '{"prompt": "a'
    for name, line in open_objects.items():
        yield bad(f"{name} in line 4", "rows.jsonl", "\n".join([*LINES[:3], line, *LINES[3:]]), 4)


def _json_documents() -> Iterator[Case]:
    compact = json.dumps(ROWS)
    yield good("an array in one line", "rows.json", compact)
    yield good("an object around the array", "rows.json", f'{{"v": 1, "data": {compact}, "n": []}}')
    yield good("an object a line", "rows.json", JSONL)
    yield good("an object a line with a blank one first", "rows.json", "\n" + JSONL)
    yield good("brackets in strings", "rows.json", compact.replace("text", ']}\\"[{'))
    yield good("a huge field in an array", "rows.json", compact.replace("text 3", "x" * 3_000_000))
    yield bad("an empty array", "rows.json", "[]")
    yield bad("an empty object alone", "rows.json", "{}", 1)
    yield bad("one row alone", "rows.json", json.dumps(ROWS[0]), 1)
    yield bad("two arrays", "rows.json", f'{{"train": {compact},\n"test": {compact}}}', 2)
    yield bad("columns as pandas writes them", "rows.json", '{"prompt": {"0": "a"}}', 1)
    yield bad("columns as lists", "rows.json", '{"prompt": ["a"], "response": ["b"]}', 1)
    yield bad("a string alone", "rows.json", '"text"', 1)
    yield bad("a number alone", "rows.json", "5", 1)
    yield bad("a comma behind the last element", "rows.json", JSON[:-2] + ",\n]", 26)
    yield bad("two commas", "rows.json", "[\n" + LINES[0] + ",,\n" + LINES[1] + "]", 2)
    yield bad("no comma between", "rows.json", "[\n" + LINES[0] + "\n" + LINES[1] + "]", 3)
    yield bad("no closing bracket", "rows.json", JSON[:-1], 26)
    yield bad("a wrong closing bracket", "rows.json", JSON[:-1] + "}", 26)
    yield bad("cut inside a record", "rows.json", JSON[: JSON.index("text 3")], 14)
    yield bad("cut behind a comma", "rows.json", "[" + LINES[0] + ",", 1)
    yield bad("text behind the end", "rows.json", JSON + "\nend", 27)
    yield bad("a second array behind the end", "rows.json", JSON + "\n[]", 27)
    yield bad("no name in the object", "rows.json", "{" + compact + "}", 1)
    yield bad("no colon in the object", "rows.json", f'{{"data" {compact}}}', 1)
    yield bad("rubbish beside the array", "rows.json", f'{{"data": {compact},\n"n": nope}}', 2)
    yield bad("an unclosed object around", "rows.json", f'{{"data": {compact}', 1)


def _tables() -> Iterator[Case]:
    quoted = "".join(f'"a ""{n}"", b","c"\n' for n in range(COUNT))
    yield good("quoted fields", "rows.csv", "prompt,response\n" + quoted)
    yield good("line breaks in quotes", "rows.csv", "prompt,response\n" + '"a\nb\r\nc",d\n' * 6)
    yield good("lone carriage returns in a table", "rows.csv", CSV.replace("\n", "\r"))
    yield good("carriage returns in quotes", "rows.csv", "prompt,response\n" + '"a\rb",d\n' * 6)
    yield good("a quotation mark inside a field", "rows.csv", CSV.replace("text", 'te"xt'))
    yield good("a huge field in a table", "rows.csv", CSV.replace("text 3", "x" * 3_000_000))
    yield good("an index column without a name", "rows.csv", _with_index(CSV))
    yield good("blank lines in a table", "rows.csv", CSV.replace("\n", "\n\n"))
    yield good("commas in a TSV", "rows.tsv", _tabs(CSV).replace("text", "a, b"))
    yield bad("only a header", "rows.csv", "prompt,response\n")
    yield bad("only a header without its end", "rows.csv", "prompt,response")
    yield bad("a header twice the same", "rows.csv", "prompt,prompt\na,b\n", 1)
    yield bad("two columns without a name", "rows.csv", ",,prompt,response\n1,2,a,b\n", 1)
    yield bad("semicolons", "rows.csv", CSV.replace(",", ";"), 1)
    yield bad("tabs in a CSV", "rows.csv", _tabs(CSV), 1)
    yield bad("commas as separators of a TSV", "rows.tsv", CSV, 2)
    yield bad("a field too many", "rows.csv", CSV + "a,b,c\n", 8)
    yield bad("a field too few", "rows.csv", CSV + "a\n", 8)
    yield bad("an empty prompt in a table", "rows.csv", CSV + ",b\n", 8)
    yield bad("only separators in a line", "rows.csv", CSV + ",\n", 8)
    yield bad("an empty response in a table", "rows.csv", CSV + "a,\n", 8)
    yield bad("an unclosed quotation mark", "rows.csv", CSV + '"a,b\nc,d\n', 8)
    yield bad("an unclosed quotation mark first", "rows.csv", CSV.replace("text 0", '"text 0'), 2)
    yield bad("text behind a quotation mark", "rows.csv", CSV + '"a"b,c\n', 8)
    yield bad("an unclosed quotation mark in the header", "rows.csv", '"prompt,response\na,b\n', 1)
    yield bad("a NUL byte in a table", "rows.csv", CSV.replace("text 3", "te\0xt"), 5)
    yield bad("a NUL byte in the header", "rows.csv", CSV.replace("response", "resp\0onse"), 1)
    yield bad("no header", "rows.csv", CSV.partition("\n")[2], 2)
    yield bad("latin-1 in line 5 of a table", "rows.csv", _latin_in(CSV, 5), 5)
    yield bad(
        "latin-1 in a quoted field of two lines", "rows.csv", b'prompt,response\n"a\n\xe9",b\n', 3
    )


def _packed() -> Iterator[Case]:
    for ending, text in ((".jsonl", JSONL), (".json", JSON), (".csv", CSV)):
        file = f"rows{ending}.gz"
        # Without names and times, and stored as it is, so that a cut is at a known line.
        packed = gzip.compress(text.encode(), compresslevel=0, mtime=0)
        yield good(f"gzip {ending}", file, packed)
        yield good(f"two gzip members {ending}", file, _members(text))
        yield bad(f"text that says it is gzip {ending}", file, text.encode(), 1)
        yield bad(f"gzip that does not say so {ending}", f"rows{ending}", packed, 1)
        yield bad(f"an empty gzip file {ending}", file, b"")
        yield bad(f"nothing in gzip {ending}", file, gzip.compress(b""))
        yield bad(f"a cut gzip header {ending}", file, packed[:6], 1)
        yield bad(f"gzip without its checksum {ending}", file, packed[:-8])
        yield bad(f"a wrong checksum {ending}", file, packed[:-8] + b"\0" * 4 + packed[-4:])
        yield bad(f"a wrong length {ending}", file, packed[:-4] + b"\0" * 4)
        yield bad(f"rubbish behind gzip {ending}", file, packed + b"rubbish")
        yield bad(f"gzip in gzip {ending}", file, gzip.compress(packed), 1)
    damaged = bytearray(gzip.compress((JSONL * 200).encode()))
    damaged[len(damaged) // 2] ^= 0xFF
    yield bad("a flipped byte in gzip", "rows.jsonl.gz", bytes(damaged))
    cut = gzip.compress((JSONL * 200).encode())
    yield bad("gzip cut in the middle", "rows.jsonl.gz", cut[: len(cut) // 2])
    yield bad("latin-1 in gzip", "rows.jsonl.gz", gzip.compress(JSONL.encode("latin-1")), 1)
    yield bad("packed Parquet", "rows.parquet.gz", gzip.compress(_parquet()))


def _arrow() -> Iterator[Case]:
    whole, stream, file = _parquet(), _stream(), _feather()
    yield good("Parquet", "rows.parquet", whole)
    yield good("an Arrow stream", "rows.arrow", stream)
    yield good("an Arrow file", "rows.arrow", file)
    yield good("Feather", "rows.feather", file)
    yield good("a stream that is called Feather", "rows.feather", stream)
    for name, content in (("Parquet", whole), ("stream", stream), ("file", file)):
        target = "rows.parquet" if name == "Parquet" else "rows.arrow"
        yield bad(f"empty {name}", target, b"", 1)
        yield bad(f"{name} cut at 4 bytes", target, content[:4], 1)
        yield bad(f"half a {name}", target, content[: len(content) // 2])
        yield bad(f"{name} without its last byte", target, content[:-1])
        yield bad(f"{name} without its last 8 bytes", target, content[:-8])
        yield bad(f"rubbish behind a {name}", target, content + b"rubbish and more")
        yield bad(f"{name} without its first 8 bytes", target, content[8:], 1)
    yield bad("text called Parquet", "rows.parquet", JSONL, 1)
    yield bad("text called Arrow", "rows.arrow", JSONL, 1)
    yield bad("Parquet called Arrow", "rows.arrow", whole, 1)
    yield bad("Arrow called Parquet", "rows.parquet", file, 1)
    yield bad("a flipped length in Parquet", "rows.parquet", whole[:-6] + b"\xff\xff" + whole[-4:])
    yield bad("Feather of version 1", "rows.feather", b"FEA1" + b"\0" * 60 + b"FEA1", 1)
    yield bad("Parquet without rows", "rows.parquet", _parquet([]))
    yield bad("an Arrow stream without rows", "rows.arrow", _stream([]))
    yield bad("a missing value in Parquet", "rows.parquet", _parquet(_with_null()), 3)
    yield bad("bytes in Parquet", "rows.parquet", _parquet([{"prompt": b"a", "response": "b"}]), 1)
    yield bad("no such columns in Parquet", "rows.parquet", _parquet([{"x": "a", "y": "b"}]), 1)
    yield bad("text that is not UTF-8 in Parquet", "rows.parquet", _parquet_in_latin(), 1)


def _disguised() -> Iterator[Case]:
    zipped = b"PK\x03\x04" + b"\0" * 100
    yield bad("an Excel file called CSV", "rows.csv", zipped, 1)
    yield bad("a zip archive called JSONL", "rows.jsonl", zipped, 1)
    yield bad("bzip2 called JSONL", "rows.jsonl", b"BZh91AY&SY" + b"\x01" * 50, 1)
    yield bad("xz called JSONL", "rows.jsonl", b"\xfd7zXZ\0" + b"\x01" * 50, 1)
    yield bad("Zstandard called CSV", "rows.csv", b"\x28\xb5\x2f\xfd" + b"\x01" * 50, 1)
    yield bad("Parquet called JSONL", "rows.jsonl", _parquet(), 1)
    yield bad("Arrow called CSV", "rows.csv", _feather(), 1)
    yield bad("a picture called CSV", "rows.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 1)
    yield bad("an array called JSONL", "rows.jsonl", JSON, 1)
    yield bad("JSON Lines called CSV", "rows.csv", JSONL, 2)
    yield bad("a web page called JSONL", "rows.jsonl", "<!doctype html>\n<html>\n", 1)
    yield bad(
        "a pointer of Git LFS", "rows.parquet", "version https://git-lfs.github.com/spec/v1", 1
    )
    yield bad("XML", "rows.xml", "<a/>")
    yield bad("no ending", "rows", JSONL)


def _shapes() -> Iterator[Case]:
    user, assistant = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    yield good("conversations", "rows.jsonl", _conversations([user, assistant]))
    wrong = {
        "no turn of the assistant": [user],
        "no question": [assistant],
        "an unknown role": [user, {"role": "tool", "content": "x"}, assistant],
        "no text in a turn": [user, {"role": "assistant", "content": ""}],
        "null in a turn": [{"role": "user", "content": None}, assistant],
        "a picture in a turn": [{"role": "user", "content": [{"type": "image"}]}, assistant],
        "a number in a turn": [{"role": "user", "content": 5}, assistant],
        "a turn without a role": [{"content": "a"}, assistant],
        "a turn that is text": ["hello", assistant],
        "no turns": [],
    }
    for name, turns in wrong.items():
        content = _conversations([user, assistant]) + _conversations(turns, count=1)
        yield bad(f"{name} in line 7", "rows.jsonl", content, 7)
    yield bad("only columns that are not known", "rows.jsonl", '{"x": "a", "y": "b"}\n', 1)


def _tabs(text: str) -> str:
    return text.replace(",", "\t")


def _with_index(text: str) -> str:
    header, *lines = text.splitlines()
    return "\n".join([f",{header}", *(f"{n},{line}" for n, line in enumerate(lines))])


def _latin_in(text: str, line: int) -> bytes:
    lines = [each.encode() for each in text.splitlines(keepends=True)]
    lines[line - 1] = lines[line - 1].decode().encode("latin-1")
    return b"".join(lines)


def _members(text: str) -> bytes:
    half = len(text) // 2
    return gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode())


def _conversations(turns: list[object], count: int = COUNT) -> str:
    return (json.dumps({"messages": turns}) + "\n") * count


def _table(rows: list[dict[str, object]] | None) -> pyarrow.Table:
    schema = pyarrow.schema([("prompt", pyarrow.string()), ("response", pyarrow.string())])
    return pyarrow.Table.from_pylist(ROWS if rows is None else rows, None if rows else schema)


def _parquet(rows: list[dict[str, object]] | None = None) -> bytes:
    out = io.BytesIO()
    parquet.write_table(_table(rows), out)
    return out.getvalue()


def _feather() -> bytes:
    out = io.BytesIO()
    feather.write_feather(_table(None), out, compression="uncompressed")
    return out.getvalue()


def _stream(rows: list[dict[str, object]] | None = None) -> bytes:
    out = io.BytesIO()
    table = _table(rows)
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


def _with_null() -> list[dict[str, object]]:
    return [{**row, "response": None} if n == 2 else dict(row) for n, row in enumerate(ROWS)]


def _parquet_in_latin() -> bytes:
    content = pyarrow.array([b"\xe9"], pyarrow.binary()).view(pyarrow.string())
    out = io.BytesIO()
    table = pyarrow.table({"prompt": content, "response": ["b"]})
    parquet.write_table(table, out)
    return out.getvalue()
