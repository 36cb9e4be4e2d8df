"""The server of a page that follows its studies."""

import json
import socket
import time
import urllib.error
import urllib.request

import optuna
import pytest
import tiny
from served import go, made_up, serving

from archsearch.errors import OptionError, StorageError
from archsearch.handover import confirm_record
from archsearch.handover.candidates import Candidate
from archsearch.report.page.follow import Follower
from archsearch.report.page.serve import Server
from archsearch.report.view import read_view, view_of
from archsearch.search.definition import create_or_resume, load
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.trial import Epoch, Evaluation


@pytest.fixture
def url(tmp_path):
    return f"{tmp_path}/s.db"


@pytest.fixture
def study(small_space):
    return tiny.make_study(small_space, name="small")


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read().decode()


def refused(url, **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url, **headers)
    return error.value.code


def news(server, version, have):
    return json.loads(get(f"{server.url}data?run={server.follower.run}&version={version}&have={have}"))


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_news_are_what_came_since(study, url):
    go(study, url, 3)
    with serving(url, "small") as server:
        assert '<h1 id="title">' in get(server.url)
        first = news(server, 0, "0")
        assert [part["count"] for part in first["studies"][0]["parts"]] == [3]
        go(study, url, 5)
        until(lambda: len(server.follower.views()[0].trials) == 5)
        told = news(server, first["version"], "3")["studies"][0]
        assert [part["count"] for part in told["parts"]] == [2]
        assert told["front"] == server.follower.views()[0].front
        now = server.follower.version
        assert news(server, now, "5") == {"version": now, "trouble": None}


def test_trials_that_end_out_of_order_keep_the_order_in_which_they_were_seen(study, url):
    search = Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True))))
    asked = [search.ask() for _ in range(3)]
    with serving(url, "small") as server:
        assert server.follower.views()[0].running == 3
        for place in (2, 0, 1):
            search.tell(asked[place], *made_up(asked[place].arch, 0, None))
            until(lambda: server.follower.views()[0].trials[-1:] == [search.trials[-1]] or len(search.trials) > 1)
            until(lambda: len(server.follower.views()[0].trials) == len(search.trials))
        assert [trial.number for trial in server.follower.views()[0].trials] == [2, 0, 1]
        assert server.follower.views()[0].running == 0


def test_a_study_without_a_trial_is_followed_from_its_beginning(study, url):
    create_or_resume(study, open_storage(url, create=True))
    with serving(url, "small") as server:
        assert "</html>" in get(server.url)
        go(study, url, 1)
        until(lambda: [part["count"] for part in news(server, 0, "0")["studies"][0]["parts"]] == [1])


def test_what_is_not_asked_rightly_is_refused(study, url):
    go(study, url, 2)
    with serving(url, "small") as server:
        run = server.follower.run
        assert refused(f"{server.url}else") == 404
        assert refused(f"{server.url}..%2f..%2fetc/passwd") == 404
        for query in ("", f"run={run}", f"run={run}&version=x&have=1", f"run={run}&version=1&have=1,2",
                      f"run={run}&version=1&have=-1"):  # fmt: skip
            assert refused(f"{server.url}data?{query}") == 400
        assert refused(f"{server.url}data?run=other&version=1&have=1") == 410
        for name in ("evil.example", "[x"):
            assert refused(server.url, Host=name) == 403  # the first was rebound to this machine


def test_it_listens_on_loopback_alone_and_sends_a_policy(study, url):
    go(study, url, 2)
    with serving(url, "small") as server:
        assert server.server_address[0] == "127.0.0.1"
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"


def test_a_port_that_is_taken_is_one_line_with_the_remedy(study, url):
    go(study, url, 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        follower = Follower([load("small", open_storage(url, create=False))])
        with pytest.raises(OptionError, match=rf"port {port}: Address already in use; give --port another number"):
            Server("127.0.0.1", port, follower, [])


def test_a_study_that_cannot_be_read_leaves_the_others(study, url, small_space):
    other = tiny.make_study(small_space, name="other")
    go(study, url, 2)
    go(other, url, 2)
    with serving(url, "small", "other") as server:
        optuna.delete_study(study_name="other", storage=open_storage(url, create=False))
        until(lambda: server.follower.trouble)
        assert server.follower.trouble.startswith("other: ")
        go(study, url, 4)
        until(lambda: len(server.follower.views()[0].trials) == 4)
        assert "</html>" in get(server.url)


def test_a_trial_that_cannot_be_read_leaves_the_others(study, url):
    search = Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True))))
    asked = [search.ask() for _ in range(3)]
    with serving(url, "small") as server:
        search.record._storage.set_trial_user_attr(search.record.trials[0]._trial_id, "arch", {"depths": "none"})
        for candidate in asked:
            search.tell(candidate, *made_up(candidate.arch, 0, None))
        until(lambda: len(server.follower.views()[0].trials) == 2)
        until(lambda: server.follower.trouble and "trial 0 of small cannot be read" in server.follower.trouble)


def test_threads_that_publish_at_once_tell_every_trial_once(study, url, monkeypatch):
    monkeypatch.setattr("archsearch.report.page.follow.CHUNK", 2)
    monkeypatch.setattr("archsearch.report.page.follow.LOOK_S", 0.01)
    monkeypatch.setattr("archsearch.report.page.follow.IMPORTANCE_S", 0.01)
    go(study, url, 1)
    with serving(url, "small") as server:
        for total in range(2, 10):
            go(study, url, total)
        until(lambda: len(server.follower.views()[0].trials) == 9)
        time.sleep(0.3)
        parts = json.loads(server.follower.news(0, [0]))["studies"][0]["parts"]
        numbers = [n for part in parts for n in decoded(part["columns"]["number"], part["count"])]
        assert sorted(numbers) == list(range(9))


def test_a_notebook_reads_what_the_server_tells(study, url):
    go(study, url, 9)
    found = read_view("small", url)
    assert [t.number for t in found.trials] == list(range(9))
    assert set(found.importance) <= {"accuracy", "macs", "infer_throughput"}
    assert found.importance
    follower = Follower([load("small", open_storage(url, create=False))])
    assert follower.views()[0].trials == found.trials
    assert follower.views()[0].front == found.front == found.frame.loc[found.frame["front"], "number"].tolist()
    with pytest.raises(StorageError, match="did you mean 'small'"):
        read_view("smal", url)


def test_a_confirmation_comes_while_the_page_is_open(study, url, monkeypatch):
    monkeypatch.setattr("archsearch.report.page.follow.IMPORTANCE_S", 0.05)
    go(study, url, 2)
    with serving(url, "small") as server:
        first = news(server, 0, "0")
        assert first["studies"][0]["confirmation"] is None
        storage = open_storage(url, create=False)
        (trial, _) = server.follower.views()[0].trials
        candidate = Candidate(trial.arch, "front", number=trial.number, scores=trial.evaluation.scores)
        recipe = {"confirms": "small", "images": 1000, "objectives": ["accuracy"]}
        record = confirm_record.create_or_resume("small-confirm", recipe, storage)
        confirm_record.set_candidates(record, [candidate])
        detail = {"accuracy": {"weights": "w.safetensors"}}
        found = Evaluation({"accuracy": 0.75}, detail, curve=(Epoch(1, 1.0, 0.7, 0.1),))
        confirm_record.add(record, candidate, 7, found, {})
        until(lambda: (server.follower.views()[0].confirmation or candidate) is not candidate)
        until(lambda: server.follower.views()[0].confirmation.members[0].accuracy == 0.75)
        told = news(server, first["version"], "2")["studies"][0]
        assert [(one["number"], one["value"]) for one in told["confirmation"]["members"]] == [(trial.number, 0.75)]
        assert view_of(load("small", storage)).confirmation == server.follower.views()[0].confirmation


@pytest.mark.parametrize("have", [0, 1, 3, 4, 7, 9, 10])
def test_trials_come_once_each_whatever_a_page_has(study, url, monkeypatch, have):
    monkeypatch.setattr("archsearch.report.page.follow.CHUNK", 4)
    go(study, url, 10)
    follower = Follower([load("small", open_storage(url, create=False))])
    parts = json.loads(follower.news(0, [have]))["studies"][0]["parts"]
    numbers = [n for part in parts for n in decoded(part["columns"]["number"], part["count"])]
    assert numbers == list(range(have, 10))


def decoded(column, count):
    return [column["all"]] * count if isinstance(column, dict) else column
