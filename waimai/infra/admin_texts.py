"""Texts of Unfold's pages that neither it nor Django has in Chinese; they stand in our catalogues.

The only texts that are English in the source: they are looked up by Unfold, in its words. What nobody comes to see here
(its search, currencies, charts) is left out.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop

UNFOLDS = (
    gettext_noop("Select record"),
    gettext_noop("Select action"),
    gettext_noop("Select action to run"),
    gettext_noop("Select value"),
    gettext_noop("Expand row"),
    gettext_noop("Run"),
    gettext_noop("Type to search"),
    gettext_noop("After you've created a user, you’ll be able to edit more user options."),
    gettext_noop(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you can "
        'change the password using <a href="{}" class="text-primary-600 dark:text-primary-500">this '
        "form</a>."
    ),
    gettext_noop("You have been successfully logged out from the administration"),
    gettext_noop("More actions"),
    gettext_noop("True"),
    gettext_noop("False"),
    gettext_noop("Apply Filters"),
    gettext_noop("Select all rows"),
    gettext_noop("Cancel"),
    gettext_noop("Submit"),
    gettext_noop("This item will be deleted."),
    gettext_noop("Click to cancel"),
    gettext_noop("No results found"),
    gettext_noop("This page yielded into no results. Create a new item or reset your filters."),
    gettext_noop("Reset filters"),
    gettext_noop("Image preview"),
    gettext_noop("Click to download"),
    gettext_noop("Go back"),
    gettext_noop("Previous"),
    gettext_noop("Next"),
    gettext_noop("General"),
    gettext_noop("Light"),
    gettext_noop("Dark"),
    gettext_noop("System"),
    gettext_noop("Return to site"),
    gettext_noop("Choose file to upload"),
    gettext_noop("Toggle password visibility"),
    gettext_noop("Welcome"),
    gettext_noop("Date"),
    gettext_noop("Recent searches"),
    gettext_noop("No recent searches"),
)
