"""Forms of the payment pages."""

from __future__ import annotations

from django import forms

from payments.providers.sandbox import SandboxOutcome


class SandboxForm(forms.Form):
    """Which button of the sandbox's pay page was pressed."""

    outcome = forms.TypedChoiceField(choices=[(outcome.value, outcome.value) for outcome in SandboxOutcome])
