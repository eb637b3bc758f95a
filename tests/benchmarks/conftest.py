"""Fixtures: the real model."""

from tests.models.conftest import smollm2 as smollm2
