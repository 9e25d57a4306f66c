import pytest

from demur.runs.sources import code_hash, source_hash

CODE = '''"""A module."""

from functools import cache

LIMIT = 3  # a bound
"""What it bounds."""


@cache
def area(width, height=2.0):
    """Width times height."""
    if width > LIMIT:
        return width * height
    return f"{width} {'none'}"


class Box:
    """A box."""

    sides: int = 4
    """How many."""
'''


@pytest.fixture
def hashed(tmp_path):
    """hashed(source) -> the hash of a file with that source."""

    def make(source: str | bytes) -> str:
        file = tmp_path / "a.py"
        file.write_bytes(source.encode() if isinstance(source, str) else source)
        code_hash.cache_clear()
        return code_hash(file)

    return make


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""A better sentence.\n\nAnd one more."""'),
        ('    """Width times height."""\n', ""),
        ('"""What it bounds."""\n', ""),
        ('    """How many."""', "    # how many"),
        ("  # a bound", ""),
        ("(width, height=2.0)", "(\n    width,\n    height=2.0,\n)"),
        ("width * height", "(width\n            * height)"),
        ("\n\n\n", "\n"),
        ("f\"{width} {'none'}\"", "f'{width} {\"none\"}'"),
        ("\n", "\r\n"),
    ],
)
def test_what_is_said_about_code_and_how_it_is_laid_out_leave_its_hash_alone(hashed, old, new):
    assert old in CODE
    assert hashed(CODE.replace(old, new)) == hashed(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("height=2.0", "height=2.5"),
        ("@cache\n", ""),
        ("width > LIMIT", "width >= LIMIT"),
        ("width * height", "height * width"),
        ("'none'", "'nothing'"),
        ("import cache", "import cache as cache"),
        ("        return width * height\n    return", "        pass\n    return"),
        ("sides: int = 4", "sides: int"),
    ],
)
def test_whatever_changes_what_code_does_changes_its_hash(hashed, old, new):
    assert old in CODE
    assert hashed(CODE.replace(old, new)) != hashed(CODE)


def test_a_string_that_is_used_is_no_docstring(hashed):
    assert hashed('x = "a"\n') != hashed('x = "b"\n')
    assert hashed('def f():\n    return "a"\n') != hashed('def f():\n    return "b"\n')


def test_a_file_that_does_not_parse_counts_by_its_bytes(hashed):
    broken = "def f(:  # one\n"
    assert hashed(broken) == hashed(broken.replace("\n", "\r\n")) != hashed(broken.replace("one", "two"))
    assert hashed(b"x = 1\0\n") != hashed(b"x = 2\0\n")
    assert hashed(b"x = '\xff'\n") != hashed(b"x = '\xfe'\n")


def test_a_hash_of_files_knows_their_names_and_not_their_order(tmp_path):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("x = 1\n")
    b.write_text("y = 1\n")
    before = code_hash(a, b)
    assert code_hash(b, a) == before != code_hash(a)
    a.rename(tmp_path / "c.py")
    assert code_hash(tmp_path / "c.py", b) != before


def test_the_source_hash_follows_code_in_its_rooms_only(tmp_path):
    rooms = ("engines", "models", "saes")
    for room in ("engines", "models", "judges"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_bytes(b"x = 1\ny = 2\n")

    def fresh():
        source_hash.cache_clear()
        return source_hash(rooms, tmp_path)

    before = fresh()
    (tmp_path / "judges" / "a.py").write_text("x = 2\n")
    (tmp_path / "models" / "notes.txt").write_text("no code")
    (tmp_path / "models" / "a.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    assert fresh() == before
    (tmp_path / "models" / "a.py").rename(tmp_path / "models" / "b.py")
    renamed = fresh()
    (tmp_path / "models" / "b.py").write_text("x = 3\n")
    assert len({before, renamed, fresh()}) == 3
