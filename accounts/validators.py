"""What a phone number and a place may look like; models, forms and the API share it."""

from __future__ import annotations

import re

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.utils.translation import gettext_lazy as _

# \Z and not $: in Python `$` also matches before a final newline. [0-9] and not \d: that takes full-width digits too.
MOBILE = re.compile(r"\A1[0-9]{10}\Z")
CODE = re.compile(r"\A[0-9]{6}\Z")
# The person at the door may have a landline: area code and number.
CONTACT_PHONE = re.compile(r"\A(1[0-9]{10}|0[0-9]{2,3}-?[0-9]{7,8})\Z")

mobile = RegexValidator(MOBILE, _("请输入 11 位手机号"), code="invalid_phone")
contact_phone = RegexValidator(CONTACT_PHONE, _("请输入手机号或带区号的固定电话"), code="invalid_phone")
login_code = RegexValidator(CODE, _("请输入 6 位数字验证码"), code="invalid_code")
LATITUDE = (MinValueValidator(-90), MaxValueValidator(90))
LONGITUDE = (MinValueValidator(-180), MaxValueValidator(180))
