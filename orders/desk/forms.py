"""Forms of the staff's screens. They check shapes; what is right is decided, and refused, by the services."""

from __future__ import annotations

from django import forms

from orders.states import Reason

REJECT_REASONS = (Reason.SHOP_BUSY, Reason.DISHES_GONE, Reason.SHOP_CLOSING, Reason.TOO_FAR)
CANCEL_REASONS = (Reason.SHOP_BUSY, Reason.DISHES_GONE, Reason.NO_COURIER, Reason.CUSTOMER_CALLED)
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
