"""One table of spellings: what is a subscription's address and what is an account (R8)."""

import pytest

from gateway.core.errors import InvalidInput
from gateway.core.subscriptions import (
    has_subscription_scheme,
    is_subscription_address,
    refuse_subscription_address,
)
from tests.subscriptions import ACCOUNTS, ADDRESSES, SCHEMES

pytestmark = pytest.mark.rule("R8")


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_address_of_a_subscription_is_no_account(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        refuse_subscription_address(address)
    assert (refused.value.code, refused.value.pointer) == ("calendar-subscribed", "/email")


@pytest.mark.parametrize("address", SCHEMES)
def test_its_scheme_is_seen_in_every_spelling(address: str) -> None:
    assert has_subscription_scheme(address)


@pytest.mark.parametrize("address", ACCOUNTS)
def test_an_ordinary_address_is_not_taken_for_a_subscription(address: str) -> None:
    assert not is_subscription_address(address)
    assert not has_subscription_scheme(address)
