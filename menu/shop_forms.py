"""Forms of a shop's admin page."""

from __future__ import annotations

import re
from datetime import time
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from menu import geo
from menu.models import OpeningHours, Shop
from waimai.infra.admin_base import NumberWidget, TextareaWidget

UNREADABLE = object()
# Mobiles, landlines, 400 numbers, short ones such as 95016, and those of other countries.
PHONE, FEWEST_DIGITS = re.compile(r"\+?\(?[0-9][0-9 ()-]*"), 5
# Nobody brings food further than that.
WIDEST_KM = 50
EXAMPLE = '{"type": "Polygon", "coordinates": [[[116.40, 39.88], [116.50, 39.88], [116.50, 39.96], [116.40, 39.88]]]}'


class AreaField(forms.JSONField):
    """A polygon as text. Django writes `null` where there is none."""

    def prepare_value(self, value: Any) -> Any:
        """What stands in the box."""
        return "" if value is None else super().prepare_value(value)


class ShopForm(forms.ModelForm[Shop]):
    """A shop; its time zone must be one that exists, its place one on earth. A radius draws its delivery area."""

    delivery_area = AreaField(
        label=gettext_lazy("配送范围"),
        required=False,
        widget=TextareaWidget,
        help_text=format_lazy(
            "{} {}",
            gettext_lazy(
                "留空表示不限。通常填半径即可；也可粘贴 GeoJSON 多边形，坐标为 [经度, 纬度]，首尾两点相同，例如"
            ),
            EXAMPLE,
        ),
    )
    radius_km = forms.DecimalField(
        label=gettext_lazy("半径（公里）"),
        required=False,
        min_value=Decimal("0.1"),
        max_value=WIDEST_KM,
        decimal_places=2,
        widget=NumberWidget(attrs={"step": "0.01"}),
        help_text=gettext_lazy("填写后，保存时以店铺坐标为圆心画圆，代替现有的配送范围。"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who may only look has no fields.
        for name, most in (("latitude", 90), ("longitude", 180)):
            if name in self.fields:
                self.fields[name].validators += [MinValueValidator(-most), MaxValueValidator(most)]

    def clean(self) -> dict[str, Any]:
        """Half a place is none."""
        data = super().clean() or self.cleaned_data
        missing = [name for name in ("latitude", "longitude") if data.get(name, UNREADABLE) is None]
        if len(missing) == 1:
            self.add_error(missing[0], _("经度和纬度必须同时提供"))
        if data.get("radius_km"):
            self._draw(data)
        return data

    def _draw(self, data: dict[str, Any]) -> None:
        place = {name: data.get(name, UNREADABLE) for name in ("latitude", "longitude")}
        if None in place.values():
            self.add_error("radius_km", _("请先填写店铺的纬度和经度。"))
        if not all(isinstance(number, Decimal) for number in place.values()):
            return
        area = geo.circle(radius_km=float(data["radius_km"]), **{name: float(it) for name, it in place.items()})
        try:
            geo.validate_polygon(area)
        except forms.ValidationError as error:
            self.add_error("radius_km", error)
        else:
            data["delivery_area"] = area

    def clean_phone(self) -> str:
        """What somebody can call: digits, perhaps grouped."""
        phone: str = self.cleaned_data["phone"]
        if phone and not (PHONE.fullmatch(phone) and sum(map(str.isdigit, phone)) >= FEWEST_DIGITS):
            raise forms.ValidationError(_("请输入电话号码，例如 010-65001234。"))
        return phone

    def clean_time_zone(self) -> str:
        """An IANA name."""
        name: str = self.cleaned_data["time_zone"]
        if name not in available_timezones():
            raise forms.ValidationError(_("没有这个时区。"))
        return name


class HoursForm(forms.ModelForm[OpeningHours]):
    """A span in which the shop is open."""

    def clean(self) -> dict[str, Any]:
        """One that ends when it begins would be a day long, which nobody means; a whole day goes from midnight."""
        data = super().clean() or self.cleaned_data
        if {"opens", "closes"} <= data.keys() and data["opens"] == data["closes"] != time(0):
            self.add_error("closes", _("开始和结束不能相同；全天营业请填 00:00 到 00:00。"))
        return data
