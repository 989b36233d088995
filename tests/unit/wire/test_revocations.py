"""What is revoked is named until its time is over, whichever way it was learned, and who wants to know is told."""

from dataclasses import dataclass

import pytest

from parade.wire.revocations import Revocation, Revocations

NOW = 1_000.0
LATER = NOW + 3_600


@dataclass(frozen=True)
class Certificate:
    serial: str = "5"
    spiffe_id: str = "spiffe://parade.local/ns/default/client/ann"


def by_serial(serial: str = "5", until: float = LATER) -> Revocation:
    return Revocation(until, "the key was lost", serial=serial)


def by_identity(spiffe_id: str = Certificate.spiffe_id, until: float = LATER) -> Revocation:
    return Revocation(until, "ann has left", spiffe_id=spiffe_id)


def test_nothing_is_revoked_before_anything_was_said() -> None:
    assert Revocations().reason(Certificate(), NOW) is None


def test_a_serial_is_revoked_and_no_other_certificate_of_its_holder() -> None:
    revocations = Revocations()

    revocations.add(by_serial(), NOW)

    assert revocations.reason(Certificate(), NOW) == "the key was lost"
    assert revocations.reason(Certificate(serial="6"), NOW) is None


def test_an_identity_is_revoked_with_all_its_certificates() -> None:
    revocations = Revocations()

    revocations.add(by_identity(), NOW)

    assert revocations.reason(Certificate(serial="5"), NOW) == "ann has left"
    assert revocations.reason(Certificate(serial="6"), NOW) == "ann has left"
    assert revocations.reason(Certificate(spiffe_id="spiffe://parade.local/ns/default/client/bob"), NOW) is None


def test_an_identity_is_looked_up_without_a_certificate() -> None:
    revocations = Revocations()
    revocations.add(by_serial(), NOW)
    revocations.add(by_identity(), NOW)

    assert revocations.of_identity(Certificate.spiffe_id, NOW) == by_identity()
    assert revocations.of_identity(Certificate.spiffe_id, LATER) is None
    assert revocations.of_identity("5", NOW) is None


def test_an_identity_without_a_name_is_not_found_by_an_empty_one() -> None:
    revocations = Revocations()

    revocations.replace([by_serial(), by_identity()], NOW)

    assert revocations.reason(Certificate(serial="", spiffe_id=""), NOW) is None


def test_a_revocation_ends_with_its_time_and_is_forgotten() -> None:
    revocations = Revocations()
    revocations.add(by_serial(), NOW)

    revocations.add(by_serial("7", LATER + 1), LATER)

    assert revocations.reason(Certificate(), LATER - 1) is None
    assert len(revocations) == 1


def test_the_end_of_an_identitys_revocation_lets_a_new_certificate_in() -> None:
    revocations = Revocations()
    revocations.add(by_identity(), NOW)

    assert revocations.reason(Certificate(), LATER - 1) == "ann has left"
    assert revocations.reason(Certificate(), LATER) is None


def test_the_revocation_that_lasts_longest_counts() -> None:
    revocations = Revocations()

    revocations.add(by_identity(until=LATER), NOW)
    revocations.add(by_identity(until=LATER - 100), NOW)

    assert revocations.reason(Certificate(), LATER - 1) == "ann has left"


def test_a_serial_that_is_over_does_not_hide_its_identity() -> None:
    revocations = Revocations()
    revocations.add(by_serial(until=NOW + 1), NOW)
    revocations.add(by_identity(), NOW)

    assert revocations.reason(Certificate(), NOW + 2) == "ann has left"


def test_a_picture_takes_the_place_of_what_was_known() -> None:
    revocations = Revocations()
    revocations.add(by_serial(), NOW)

    revocations.replace([by_serial("6"), by_serial("7", until=NOW)], NOW)

    assert revocations.reason(Certificate(), NOW) is None
    assert revocations.reason(Certificate(serial="6"), NOW) == "the key was lost"
    assert len(revocations) == 1


def test_who_wants_to_know_is_told_of_every_change_and_of_nothing_else() -> None:
    revocations = Revocations()
    told = list[int]()
    end = revocations.subscribe(lambda: told.append(len(revocations)))

    revocations.add(by_serial(), NOW)
    revocations.add(by_serial(), NOW)
    revocations.add(by_identity(until=NOW), NOW)
    revocations.replace([by_serial()], NOW)
    revocations.replace([by_serial(), by_identity()], NOW)
    end()
    revocations.replace([], NOW)

    assert told == [1, 2]


def test_a_revocation_of_nothing_or_of_two_things_is_refused() -> None:
    with pytest.raises(ValueError, match="and not both"):
        Revocation(LATER, "why")
    with pytest.raises(ValueError, match="and not both"):
        Revocation(LATER, "why", serial="5", spiffe_id=Certificate.spiffe_id)
