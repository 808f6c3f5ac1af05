"""Malformed logs, each with what its error must say. `bad_files` writes them; other tests run them too."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEADER = b"user,model_a,model_b,winner\n"
GOOD = b"ann,x,y,model_a\n" * 3
COLUMNS = ["user", "model_a", "model_b", "winner"]

Content = bytes | Callable[[Path], None]
Case = tuple[str, str, Content, dict[str, Any], str]


def csv(row: bytes) -> bytes:
    """A good log of three rows, then a bad one (data row 4, line 5), then a good one."""
    return HEADER + GOOD + row + b"\nbob,x,y,tie\n"


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(**changes: Any) -> bytes:
    columns: dict[str, Any] = {
        "user": ["ann", "bob"],
        "model_a": ["x", "y"],
        "model_b": ["y", "x"],
        "winner": ["model_a", "tie"],
    }
    columns |= changes
    stream = io.BytesIO()
    pq.write_table(pa.table({name: value for name, value in columns.items() if value is not None}), stream)
    return stream.getvalue()


def zstd(content: bytes) -> bytes:
    stream = io.BytesIO()
    with pa.CompressedOutputStream(stream, "zstd") as compressed:
        compressed.write(content)
        compressed.flush()
        whole = stream.getvalue()
    return whole


VOTE = {"user": "ann", "model_a": "x", "model_b": "y", "winner": "model_a"}
PLAIN = csv(b"ann,x,y,tie")
NOISE = b"".join(b"u%d,x%d,y,%s\n" % (i, i * i % 97, b"tie" if i % 3 else b"model_a") for i in range(20000))
ROW = "data row 4 (line 5)"

CASES: list[Case] = [
    # nothing there
    ("empty file", "a.csv", b"", {}, "the file is empty"),
    ("only a byte order mark", "a.csv", b"\xef\xbb\xbf", {}, "the file is empty"),
    ("only blank lines", "a.csv", b"\n\n\n", {}, "the file is empty"),
    ("header only", "a.csv", HEADER, {}, "the log is empty"),
    ("header without line end", "a.csv", HEADER.strip(), {}, "the log is empty"),
    ("empty jsonl", "a.jsonl", b"", {}, "the file is empty"),
    ("blank jsonl", "a.jsonl", b"\n \n", {}, "the file is empty"),
    ("empty array", "a.json", b"[]", {}, "the file holds no row"),
    ("empty object", "a.jsonl", b"{}\n", {}, "the file holds no row"),
    (
        "parquet without rows",
        "a.parquet",
        parquet(**{c: pa.array([], pa.string()) for c in COLUMNS}),
        {},
        "log is empty",
    ),
    ("folder", "folder.csv", lambda path: path.mkdir(), {}, "is a folder"),
    ("missing file", "missing.csv", lambda path: None, {}, "there is no such file"),
    ("pattern without a match", "none-*.csv", lambda path: None, {}, "no file matches the pattern"),
    ("unknown ending", "votes.xlsx", b"PK\x03\x04", {}, "unknown file format"),
    ("no ending", "votes", PLAIN, {}, "unknown file format"),
    ("compressed parquet", "votes.parquet.gz", gzip.compress(parquet()), {}, "unknown file format"),
    # not what the name says
    ("parquet called csv", "a.csv", parquet(), {}, "a.csv, line 1"),
    ("csv called parquet", "a.parquet", PLAIN, {}, "not a whole Parquet file"),
    ("csv called jsonl", "a.jsonl", PLAIN, {}, "a.jsonl, line 1: not JSON"),
    ("csv called gz", "a.csv.gz", PLAIN, {}, "cannot be decompressed"),
    ("csv called zst", "a.csv.zst", PLAIN, {}, "cannot be decompressed"),
    ("gz called csv", "a.csv", gzip.compress(PLAIN), {}, "a.csv, line 1"),
    ("jsonl called csv", "a.csv", jsonl(VOTE, VOTE), {}, "no user column"),
    # cut or damaged
    ("truncated gz", "a.csv.gz", gzip.compress(HEADER + NOISE)[:-2000], {}, "truncated"),
    ("gz without its last bytes", "a.csv.gz", gzip.compress(HEADER + NOISE)[:-4], {}, "truncated"),
    ("gz with a wrong checksum", "a.csv.gz", gzip.compress(PLAIN)[:-8] + bytes(8), {}, "cannot be decompressed"),
    ("truncated zst", "a.csv.zst", zstd(HEADER + NOISE)[:-2000], {}, "cannot be decompressed"),
    ("truncated jsonl.gz", "a.jsonl.gz", gzip.compress(jsonl(VOTE) * 999)[:-9], {}, "truncated"),
    ("truncated parquet", "a.parquet", parquet()[:-20], {}, "not a whole Parquet file"),
    ("parquet without its middle", "a.parquet", parquet()[:4] + b"\0" * 200 + parquet()[204:], {}, "a.parquet"),
    ("truncated array", "a.json", json.dumps([VOTE, VOTE]).encode()[:-5], {}, "a.json"),
    ("truncated last object", "a.jsonl", jsonl(VOTE, VOTE)[:-9], {}, "a.jsonl, line 2: not JSON"),
    # text that is none
    ("latin-1", "a.csv", csv("andré,x,y,tie".encode("latin-1")), {}, "a.csv, line 5: not UTF-8"),
    (
        "latin-1 header",
        "a.csv",
        "usér,model_a,model_b,winner\n".encode("latin-1") + GOOD,
        {},
        "line 1: the header is not",
    ),
    ("UTF-16", "a.csv", PLAIN.decode().encode("utf-16"), {}, "UTF-16, expected UTF-8"),
    ("UTF-16 jsonl", "a.jsonl", jsonl(VOTE).decode().encode("utf-16"), {}, "UTF-16, expected UTF-8"),
    ("latin-1 jsonl", "a.jsonl", jsonl(VOTE) + b'{"user": "andr\xe9"}\n', {}, "a.jsonl, line 2: not UTF-8"),
    (
        "jsonl with a byte order mark",
        "a.jsonl",
        b"\xef\xbb\xbf" + jsonl(VOTE),
        {},
        "a.jsonl, line 1: starts with a byte order mark",
    ),
    ("NUL in a user", "a.csv", csv(b"an\0n,x,y,tie"), {}, f"{ROW}, column 'user': the value holds a NUL"),
    ("NUL in a model", "a.csv", csv(b"ann,x,y\0,tie"), {}, f"{ROW}, column 'model_b': the value holds a NUL"),
    ("NUL in the header", "a.csv", b"us\0er,model_a,model_b,winner\n" + GOOD, {}, "the header holds a NUL"),
    ("NUL in a jsonl user", "a.jsonl", jsonl(VOTE, VOTE | {"user": "a\0"}), {}, "data row 2, column 'user'"),
    ("NULs at the end", "a.csv", HEADER + GOOD + b"\0" * 100, {}, "data row 4 (line 5): 1 columns, expected 4"),
    # rows that do not fit
    ("short row", "a.csv", csv(b"ann,x,y"), {}, f"{ROW}: 3 columns, expected 4"),
    ("long row", "a.csv", csv(b"ann,x,y,tie,why"), {}, f"{ROW}: 5 columns, expected 4"),
    ("quoted row", "a.csv", csv(b'"ann,x,y,tie"'), {}, f"{ROW}: 1 columns, expected 4"),
    ("unquoted comma", "a.csv", csv(b"ann,x, large,y,tie"), {}, f"{ROW}: 5 columns, expected 4"),
    ("spaces as a row", "a.csv", csv(b"   "), {}, f"{ROW}: 1 columns, expected 4"),
    ("a row after quoted line breaks", "a.csv", HEADER + b'ann,"x\n\nz",y,tie\nann,y\n', {}, "data row 2 (line 5)"),
    ("unclosed quote", "a.csv", csv(b'"ann,x,y,tie'), {}, "a.csv, line 5: a quote is not closed"),
    (
        "unclosed quote in the header",
        "a.csv",
        b'"user,model_a,model_b,winner\n' + GOOD,
        {},
        "line 1: the header cannot",
    ),
    ("text after a quote", "a.csv", csv(b'"an"n,x,y,tie'), {}, "a.csv, line 5: a quote is not closed, or text follows"),
    ("mixed line ends", "a.csv", HEADER + b"ann,x,y,tie\r\nann,x,y,tie\n", {}, "line 2: ends in"),
    ("ragged in gz", "a.csv.gz", gzip.compress(csv(b"ann")), {}, f"{ROW}: 1 columns, expected 4"),
    ("blank line before the header", "a.csv", b"\n" + PLAIN, {}, "line 1: a blank line"),
    ("title before the header", "a.csv", b"My votes\n" + PLAIN, {}, "no user column"),
    ("comment before the header", "a.csv", b"# votes\n" + PLAIN, {}, "no user column"),
    ("duplicate header", "a.csv", b"user,model_a,model_b,winner,user\nann,x,y,tie,bob\n", {}, "'user' occurs twice"),
    ("header in two cases", "a.csv", b"user,model_a,model_b,winner,User\nann,x,y,tie,b\n", {}, "differs in capitals"),
    ("a number a line", "a.jsonl", b"1\n2\n", {}, "data row 1: not a JSON object"),
    ("a list a line", "a.jsonl", jsonl(VOTE) + b'["ann", "x"]\n', {}, "data row 2: not a JSON object"),
    (
        "duplicate key",
        "a.jsonl",
        jsonl(VOTE) + b'{"user": "a", "user": "b"}\n',
        {},
        "a.jsonl, line 2: the key 'user' occurs twice",
    ),
    ("python, not json", "a.jsonl", jsonl(VOTE) + b"{'user': 'ann'}\n", {}, "a.jsonl, line 2: not JSON"),
    (
        "NaN in json",
        "a.jsonl",
        jsonl(VOTE | {"user": float("nan")}),
        {},
        "data row 1, column 'user': the user is missing",
    ),
    # values that mean nothing
    ("unknown winner", "a.csv", csv(b"ann,x,y,z"), {}, f"{ROW}, column 'winner': expected model_a, model_b or tie"),
    ("missing winner", "a.csv", csv(b"ann,x,y,"), {}, f"{ROW}, column 'winner': the winner is missing"),
    ("1/0 unexplained", "a.csv", csv(b"ann,x,y,1"), {}, "say what it means with outcomes="),
    ("negative winner", "a.csv", csv(b"ann,x,y,-1"), {}, f"{ROW}, column 'winner'"),
    ("boolean winner", "a.parquet", parquet(winner=[True, False]), {}, "data row 1, column 'winner'"),
    ("missing user", "a.csv", csv(b",x,y,tie"), {}, f"{ROW}, column 'user': the user is missing"),
    ("blank user", "a.csv", csv(b'"  ",x,y,tie'), {}, f"{ROW}, column 'user': the user is missing"),
    ("NaN user", "a.parquet", parquet(user=[1.0, float("nan")]), {}, "data row 2, column 'user': the user is missing"),
    ("null user", "a.jsonl", jsonl(VOTE, VOTE | {"user": None}), {}, "data row 2, column 'user': the user is missing"),
    ("absent user", "a.jsonl", jsonl(VOTE, {k: VOTE[k] for k in COLUMNS[1:]}), {}, "data row 2, column 'user'"),
    ("missing model", "a.csv", csv(b"ann,,y,tie"), {}, f"{ROW}, column 'model_a': the first model is missing"),
    ("model against itself", "a.csv", csv(b"ann,x,x,tie"), {}, f"{ROW}, column 'model_b': the model is compared with"),
    ("huge id", "a.csv", csv(b"u" * 5000 + b",x,y,tie"), {}, f"{ROW}, column 'user': the value is longer than 1000"),
    ("gigantic field", "a.csv", csv(b"u" * 3_000_000 + b",x,y,tie"), {}, "a.csv, line 5: the row is longer"),
    (
        "id beyond a float",
        "a.jsonl",
        jsonl(VOTE | {"user": 10**40}, VOTE | {"user": 0.5}),
        {},
        "too large to be an exact",
    ),
    (
        "rounded float id",
        "a.parquet",
        parquet(user=[1.0, 2.0**60]),
        {},
        "data row 2, column 'user': a number too large",
    ),
    ("infinite user", "a.parquet", parquet(user=[1.0, float("inf")]), {}, "data row 2, column 'user'"),
    ("users in lists", "a.parquet", parquet(user=[["ann"], ["bob"]]), {}, "column 'user' is of type VARCHAR[]"),
    ("users as objects", "a.jsonl", jsonl(VOTE | {"user": {"x": 1}}), {"user": "user"}, "'user' is of type JSON"),
    ("users as bytes", "a.parquet", parquet(user=[b"ann", b"\xff"]), {}, "column 'user' is of type BLOB"),
    ("winner as a list", "a.jsonl", jsonl(VOTE | {"winner": ["model_a"]}), {}, "column 'winner' is of type JSON"),
    ("ambiguous winner", "a.csv", HEADER + b"ann,b,a,a\n", {}, "data row 1 (line 2), column 'winner': the value is an"),
    ("formula and no vote", "a.csv", csv(b"=cmd(),x,y,=1+1"), {}, f"{ROW}, column 'winner'"),
    # columns
    ("no user column", "a.csv", b"model_a,model_b,winner\nx,y,tie\n", {}, "a.csv: no user column, which says who cast"),
    ("no winner column", "a.csv", b"user,model_a,model_b\nann,x,y\n", {}, "a.csv: no winner column"),
    ("one model column", "a.csv", b"user,model_a,winner\nann,x,tie\n", {}, "a.csv: no model_"),
    ("two user columns", "a.csv", b"judge,worker,model_a,model_b,winner\na,b,x,y,tie\n", {}, "user could be any of"),
    ("unknown column", "a.csv", PLAIN, {"user": "usr"}, "no column 'usr' (user='usr'); did you mean 'user'?"),
    ("one column twice", "a.csv", PLAIN, {"model_a": "model_b", "model_b": "model_b"}, "named both as model_a and as"),
    ("unknown category", "a.csv", PLAIN, {"category": "topic"}, "there is no column 'topic'"),
    (
        "repeated comparison id",
        "a.csv",
        b"id,user,model_a,model_b,winner\n" + b"7,a,x,y,tie\n" * 2,
        {"comparison": "id"},
        "data row 2 (line 3), column 'id': the comparison id '7' occurs before",
    ),
    (
        "missing comparison id",
        "a.csv",
        b"id,user,model_a,model_b,winner\n1,a,x,y,tie\n,a,x,y,tie\n",
        {"comparison": "id"},
        "data row 2 (line 3), column 'id': the comparison id is missing",
    ),
    (
        "unknown gold",
        "a.csv",
        b"g,user,model_a,model_b,winner\nyes,a,x,y,tie\n",
        {"gold": "g"},
        "data row 1 (line 2), column 'g': expected",
    ),
]


def write_case(folder: Path, case: Case) -> Path:
    """Write one case into a folder of its own making."""
    _, name, content, _, _ = case
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return path


def bad_files(folder: Path) -> list[tuple[str, Path, dict[str, Any], str]]:
    """Write all malformed logs, each into a folder of its own.

    Returns:
        Name, path (or pattern), further arguments of `read_comparisons`, and what the error must contain.
    """
    written = []
    for i, case in enumerate(CASES):
        home = folder / f"case{i}"
        home.mkdir()
        written.append((case[0], write_case(home, case), case[3], case[4]))
    return written
