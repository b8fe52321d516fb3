"""What the embedded broker keeps beside the logs: topics, configurations, committed offsets, producer ids."""

import os
from pathlib import Path

import pytest
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from jabba.kafka.admin import topic_configs
from jabba.local.broker import configs
from jabba.local.broker.journal import Journal
from jabba.local.broker.offsets import Committed, Offsets
from jabba.local.broker.producer_ids import ProducerIds
from jabba.local.broker.topics import Topics
from jabba.messages.topics import Topics as TopicNames
from tests.support.batches import batch_of
from tests.support.clocks import HandClock
from tests.support.disks import file_size_limit


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "facts.jsonl")


def test_a_journal_answers_what_was_written(journal: Journal, tmp_path: Path) -> None:
    journal.append(1, "ä\n", None)
    journal.append({"a": [2]})

    assert list(Journal(tmp_path / "facts.jsonl").load()) == [1, "ä\n", None, {"a": [2]}]


@pytest.mark.parametrize("torn", [b"[2", b"[2,3]"], ids=["half a line", "a line without its end"])
def test_a_journal_passes_over_what_the_broker_died_over(journal: Journal, tmp_path: Path, torn: bytes) -> None:
    journal.append([1])
    with (tmp_path / "facts.jsonl").open("ab") as file:
        file.write(torn)

    assert list(journal.load()) == [[1]]


def test_a_rewritten_journal_holds_the_new_and_goes_on(journal: Journal) -> None:
    journal.append(1, 2, 3)
    journal.rewrite([3])
    journal.append(4)

    assert list(journal.load()) == [3, 4]


def test_a_journal_hands_out_its_file_once_after_writing(journal: Journal) -> None:
    assert journal.unsynced() == []
    journal.append(1)
    (descriptor,) = journal.unsynced()
    os.close(descriptor)

    assert journal.unsynced() == []
    journal.append(2)
    assert list(journal.load()) == [1, 2]


def test_a_full_disk_leaves_no_half_line_behind(journal: Journal, tmp_path: Path) -> None:
    journal.append("kept")
    with file_size_limit((tmp_path / "facts.jsonl").stat().st_size + 5), pytest.raises(OSError, match="large"):
        journal.append("too long for what is left")
    journal.append("next")

    assert list(journal.load()) == ["kept", "next"]


def test_producer_ids_are_never_given_twice(tmp_path: Path) -> None:
    taken: list[int] = []
    for _ in range(3):
        ids = ProducerIds(tmp_path)
        taken += [ids.take() for _ in range(3)]

    assert taken == list(range(9))


def test_committed_offsets_are_kept(tmp_path: Path) -> None:
    offsets = Offsets(tmp_path)
    offsets.commit("g", {("t", 0): Committed(5, "note"), ("t", 1): Committed(6, "")})
    offsets.commit("g", {("t", 0): Committed(4, None)})
    offsets.commit("other", {("t", 0): Committed(9, "")})

    for one in (offsets, Offsets(tmp_path)):
        assert one.of_group("g") == {("t", 0): (4, None), ("t", 1): (6, "")}
        assert one.of_group("nobody") == {}


def test_the_file_of_offsets_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jabba.local.broker.journal._OUTDATED_BYTES", 1000)
    offsets = Offsets(tmp_path)
    for number in range(1000):
        offsets.commit("g", {("t", 0): Committed(number, "")})

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2000
    assert Offsets(tmp_path).of_group("g") == {("t", 0): (999, "")}


@pytest.fixture
def topics(tmp_path: Path) -> Topics:
    return Topics(tmp_path, HandClock())


def test_topics_and_their_messages_are_kept(topics: Topics, tmp_path: Path) -> None:
    topics.create("t", 2, 1, {"retention.ms": "5"})
    topics.create("u.v_w-x", -1, -1, {})
    topics.log("t", 1).append(batch_of(b"x"))
    topics.configure("t", {"cleanup.policy": "delete"})

    again = Topics(tmp_path, HandClock())

    assert again.names == ["t", "u.v_w-x"]
    assert [again.partitions(name) for name in again.names] == [2, 1]
    assert again.overrides("t") == {"cleanup.policy": "delete"}
    assert [log.end_offset for log in again.logs()] == [0, 1, 0]
    assert again.log("t", 0).config.retention_ms == 7 * 24 * 3600 * 1000


def test_configuring_a_topic_takes_effect_at_once(topics: Topics) -> None:
    topics.create("t", 2, 1, {})

    topics.configure("t", {"message.timestamp.type": "LogAppendTime"}, only_check=True)
    assert not topics.log("t", 1).config.append_time
    topics.configure("t", {"message.timestamp.type": "LogAppendTime"})

    assert topics.log("t", 1).config.append_time


@pytest.mark.parametrize(
    "wrong, arguments",
    [
        (InvalidTopicError, ("", 1, 1, {})),
        (InvalidTopicError, ("..", 1, 1, {})),
        (InvalidTopicError, ("../up", 1, 1, {})),
        (InvalidTopicError, ("t" * 250, 1, 1, {})),
        (InvalidPartitionsError, ("t", 0, 1, {})),
        (InvalidReplicationFactorError, ("t", 1, 3, {})),
        (InvalidConfigurationError, ("t", 1, 1, {"retention.ms": "soon"})),
        (InvalidConfigurationError, ("t", 1, 1, {"colour": "blue"})),
        (TopicAlreadyExistsError, ("known", 1, 1, {})),
    ],
)
def test_topics_that_cannot_be_are_refused(
    topics: Topics, tmp_path: Path, wrong: type[Exception], arguments: tuple[str, int, int, dict[str, str]]
) -> None:
    topics.create("known", 1, 1, {})

    with pytest.raises(wrong):
        topics.create(*arguments)

    assert topics.names == Topics(tmp_path, HandClock()).names == ["known"]


def test_checking_a_topic_does_not_create_it(topics: Topics) -> None:
    topics.create("t", 1, 1, {}, only_check=True)

    assert topics.names == []


def test_what_is_not_there_is_not_found(topics: Topics) -> None:
    topics.create("t", 1, 1, {})

    for name, partition in (("u", 0), ("t", 1), ("t", -1)):
        with pytest.raises(UnknownTopicOrPartitionError):
            topics.log(name, partition)
    with pytest.raises(UnknownTopicOrPartitionError):
        topics.overrides("u")


@pytest.mark.parametrize("name, overrides", topic_configs(TopicNames()).items())
def test_the_configuration_of_jabbas_topics_is_understood(name: str, overrides: dict[str, str]) -> None:
    config = configs.parse(overrides)

    assert config.compacted == name.endswith("changelog")
    assert config.append_time != config.compacted
    assert config.max_message_bytes == 4 * 1024 * 1024


@pytest.mark.parametrize(
    "name, value",
    [
        ("cleanup.policy", "keep"),
        ("max.message.bytes", "-1"),
        ("message.timestamp.type", "logappendtime"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("min.cleanable.dirty.ratio", "x"),
        ("retention.ms", "-2"),
        ("segment.bytes", "1e6"),
        ("segment.ms", ""),
        ("unclean.leader.election.enable", "yes"),
    ],
)
def test_values_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidConfigurationError, match=name):
        configs.parse({name: value})
