"""Forms of the staff's screens. They check shapes; what is right is decided, and refused, by the services."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

# What a shop says most often; a touch is enough. The published product's words.
REJECT_REASONS = (
    _("订单量较多，暂时无法接单"),
    _("菜品已销售完，暂时无法接单"),
    _("餐厅已打烊，暂时无法接单"),
    _("超出配送范围"),
)
CANCEL_REASONS = (
    _("订单量较多，暂时无法接单"),
    _("菜品已销售完，暂时无法接单"),
    _("骑手不足无法配送"),
    _("顾客电话取消"),
)
HIGHEST_ID = 2**53 - 1


class ActionForm(forms.Form):
    """What a button on a card says besides its name."""

    minutes = forms.IntegerField(required=False)
    reason = forms.CharField(required=False, max_length=200)
    own_reason = forms.CharField(required=False, max_length=200)
    courier = forms.IntegerField(required=False, min_value=1, max_value=HIGHEST_ID)

    def clean(self) -> dict[str, object]:
        """One's own words, where no button gave a reason."""
        data = super().clean() or self.cleaned_data
        data["reason"] = data.get("reason") or data.get("own_reason") or ""
        return data


class AmendForm(forms.Form):
    """What of which line is left out, and what comes instead."""

    line = forms.IntegerField(min_value=1, max_value=99_999)
    quantity = forms.IntegerField(min_value=1, max_value=99)
    replacement = forms.IntegerField(required=False, min_value=1, max_value=HIGHEST_ID)
    reason = forms.CharField(required=False, max_length=200)


class DishForm(forms.Form):
    """For how many hours a dish is off: none is until another day, 0 lets it come back now, with so many portions."""

    hours = forms.IntegerField(required=False, min_value=0, max_value=24)
    portions = forms.IntegerField(required=False)
