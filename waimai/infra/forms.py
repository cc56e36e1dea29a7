"""Forms that stand before services."""

from __future__ import annotations

from django import forms

from waimai.infra.errors import DomainError, ValidationFailed


class ServiceForm(forms.Form):
    """A form that shows a service's refusal beside the field it is about.

    `marks_optional`: say of what may be left out that it may; off where it is one field or another.
    """

    marks_optional = True

    def refuse(self, error: DomainError) -> None:
        """Take over the refusal's field errors, or its text when it is about the whole."""
        fields = error.errors if isinstance(error, ValidationFailed) and error.errors else {}
        for name, messages in fields.items():
            self.add_error(name if name in self.fields else None, messages)
        if not fields:
            self.add_error(None, error.told)
