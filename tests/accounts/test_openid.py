from __future__ import annotations

import pytest

from accounts.models import User

pytestmark = pytest.mark.data


def test_two_people_whose_openids_differ_in_case_are_two_people() -> None:
    # WeChat's openids are base64: `oA` and `oa` are somebody else.
    mei = User.objects.create_user(openid="oUpF8uMuAJO")
    tao = User.objects.create_user(openid="oUpF8uMuAJo")
    assert User.objects.get(openid="oUpF8uMuAJo") == tao != mei
