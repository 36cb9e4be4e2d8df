import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import optuna
import pytest
import tiny

from archsearch.errors import ArchsearchError, StorageError
from archsearch.search.definition import create_or_resume, load, recorded
from archsearch.search.storage.opening import check_storage, open_storage, sqlite_path


def test_paths_and_urls(tmp_path):
    assert sqlite_path("a/b.db") == sqlite_path("sqlite:///a/b.db")
    assert sqlite_path("postgresql://host/name") is None
    open_storage(str(tmp_path / "new" / "s.db"), create=True)
    assert (tmp_path / "new" / "s.db").is_file()


def test_several_may_create_a_storage_at_the_same_time(tmp_path):
    """Optuna alone fails here, as the tables that were missing a moment ago exist."""
    for number in range(10):
        url, start = str(tmp_path / f"{number}.db"), threading.Barrier(4)

        def opened(url=url, start=start):
            start.wait()
            return optuna.get_all_study_names(open_storage(url, create=True))

        with ThreadPoolExecutor(4) as pool:
            assert [future.result() for future in [pool.submit(opened) for _ in range(4)]] == [[]] * 4


def test_a_storage_whose_creation_was_cut_short_is_completed(tmp_path):
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("create table studies (study_id integer primary key, study_name varchar(512) not null)")
    assert optuna.get_all_study_names(open_storage(str(path), create=True)) == []


def test_checking_writes_nothing(tmp_path):
    check_storage(str(tmp_path / "s.db"), create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_writer_was_killed_is_put_right(tmp_path):
    """What was half written is undone by the next to open the file, though it only wants to read."""
    path, crashed = tmp_path / "s.db", tmp_path / "crashed.db"
    optuna.create_study(storage=open_storage(str(path), create=True))
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("pragma cache_size = 1")  # so that pages reach the file before the commit
        writer.executemany("insert into studies (study_name) values (?)", [(f"{i} " * 200,) for i in range(200)])
        shutil.copy(path, crashed)
        shutil.copy(f"{path}-journal", f"{crashed}-journal")
    check_storage(str(crashed), create=False)
    with closing(sqlite3.connect(crashed)) as reader:
        assert reader.execute("select count(*) from studies").fetchone() == (1,)


def text_file(path):
    path.write_text("these are my notes " * 20)


def other_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table recipes (name text)")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (text_file, "no SQLite database"),
        (other_database, "database of another program"),
        (lambda p: p.mkdir(), "cannot write"),
    ],
)
def test_foreign_files_are_refused_and_left_alone(tmp_path, make, words):
    path = tmp_path / "s.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=words) as error:
        open_storage(f"sqlite:///{path}", create=True)
    assert str(path) in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////proc/none/s.db", "cannot write"),
        ("sqlite:////dev/null/s.db", "cannot write"),
        ("://", "no storage URL"),
        ("", "no storage URL"),
        ("sqlite://", "would not outlast"),
        ("sqlite:///:memory:", "would not outlast"),
        ("nosuchdb://host/name", "cannot open the storage"),
        ("postgresql://user:secret@127.0.0.1:1/none?password=secret", "cannot open the storage"),
    ],
)
def test_places_that_cannot_be(url, words):
    with pytest.raises(StorageError, match=words) as error:
        open_storage(url, create=True)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_name_with_url_characters_is_looked_at_too(tmp_path):
    other_database(tmp_path / "x#y.db")
    with pytest.raises(StorageError, match="another program"):
        open_storage(str(tmp_path / "x#y.db"), create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x#y.db"]


def test_a_locked_file_is_said_to_be_in_use(tmp_path):
    open_storage(str(tmp_path / "s.db"), create=True)
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("begin exclusive")
        with pytest.raises(StorageError, match="in use by another program"):
            check_storage(str(tmp_path / "s.db"), create=True)


def test_reading_makes_nothing(tmp_path):
    with pytest.raises(StorageError, match="there is no storage"):
        open_storage(str(tmp_path / "s.db"), create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match="holds no study yet"):
        open_storage(str(tmp_path / "empty.db"), create=False)
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_studies_of_other_tools_are_refused(tmp_path, small_space):
    storage = open_storage(str(tmp_path / "s.db"), create=True)
    optuna.create_study(storage=storage, study_name="theirs")
    with pytest.raises(StorageError, match="not made by archsearch"):
        create_or_resume(tiny.make_study(small_space, name="theirs"), storage)
    with pytest.raises(StorageError, match="not made by archsearch"):
        load("theirs", storage)
    with pytest.raises(StorageError, match="did you mean 'theirs'"):
        load("their", storage)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, r"another seed \(0, not 5\)"),
        ({"sampler": "random"}, "another sampler"),
        ({"objectives": "accuracy,params"}, "another objectives"),
        ({"data": {"name": "drawn", "fingerprint": "x"}}, r"another data.fingerprint \(f, not x\)"),
        ({"device": "another machine"}, "another device"),
        ({"bench": "smoke"}, "another bench.img_size"),
    ],
)
def test_a_study_keeps_its_recipe(tmp_path, small_space, changes, words):
    storage = open_storage(str(tmp_path / "s.db"), create=True)
    create_or_resume(tiny.make_study(small_space), storage)
    create_or_resume(tiny.make_study(small_space, population=50), storage)  # goes with the number of trials
    with pytest.raises(StorageError, match=words) as error:
        create_or_resume(tiny.make_study(small_space, **changes), storage)
    assert "choose another --study-name" in str(error.value)


def test_a_study_keeps_its_space(tmp_path, small_space):
    storage = open_storage(str(tmp_path / "s.db"), create=True)
    create_or_resume(tiny.make_study(small_space), storage)
    small_space.write_text(tiny.SPACE.replace("[7, 9]", "[7, 9, 11]"))
    with pytest.raises(StorageError, match=r"another space\.axes"):
        create_or_resume(tiny.make_study(small_space), storage)


def test_a_recipe_is_not_looked_up_in_a_storage_that_does_not_work(tmp_path):
    """To take the study for a new one would be wrong."""
    url = f"sqlite:///{tmp_path}/s.db"
    create_or_resume(tiny.make_study("inception_dw"), open_storage(url, create=True))
    assert recorded("test", url)["sampler"] == "nsga2"
    with closing(sqlite3.connect(tmp_path / "s.db")) as database:
        database.execute("ALTER TABLE study_user_attributes RENAME COLUMN value_json TO value")
    with pytest.raises(ArchsearchError, match="the storage cannot be used: no such column"):
        recorded("test", url)
