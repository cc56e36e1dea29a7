"""Every text that people read stands in both catalogues, and the compiled catalogues are the written ones.

After changing a text: `manage.py makemessages -l en -l zh_Hans --no-obsolete --no-wrap --no-location`, translate,
`manage.py compilemessages` (both need gettext's programs).
"""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.db.models import Model
from django.utils.translation import override

from tests.support.catalogue import asked_for, compiled, written

pytestmark = pytest.mark.once
LANGUAGES = ("en", "zh_Hans")
OURS = [model for model in admin.site._registry if not model.__module__.startswith("django.")]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    known = written(language)
    missing = [f"{place}: {text}" for text, place in asked_for().items() if not all(known.get(text, ("",)))]
    assert not missing, "\n" + "\n".join(missing)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_translated_that_nobody_asks_for(language: str) -> None:
    assert sorted(written(language).keys() - asked_for().keys()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_the_written_one(language: str) -> None:
    assert compiled(language) == written(language)


def test_translations_keep_the_placeholders() -> None:
    wrong = [
        text
        for text, forms in written("en").items()
        for form in forms
        if sorted(PLACEHOLDER.findall(form)) != sorted(PLACEHOLDER.findall(text))
    ]
    assert wrong == []


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_names_of_models_begin_alike(model: type[Model]) -> None:
    with override("en"):
        names = str(model._meta.verbose_name), str(model._meta.verbose_name_plural)
    assert [name[0].isupper() for name in names] == [True, True]


def test_english_is_english_and_chinese_chinese() -> None:
    assert [text for text, forms in written("en").items() if CHINESE.search("".join(forms))] == []
    english = [forms for forms in written("zh_Hans").values() if not CHINESE.search("".join(forms))]
    assert english == [("、",)]
