"""What a model may hand over as vectors, and what is refused before it can be stored."""

from typing import cast

import numpy as np
import pytest

from agentmem_cli.embedding.base import Vectors, unit_rows
from agentmem_cli.errors import EmbeddingError


def _rows(*rows: list[float]) -> Vectors:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (_rows([1, 2, 3], [np.nan, 2, 3]), "NaN or infinity for 1 texts"),
        (_rows([np.inf, 2, 3], [1, -np.inf, 3]), "NaN or infinity for 2 texts"),
        (_rows([0, 0, 0], [1, 2, 3]), "zero vector for 1 texts"),
        (_rows([0, -0.0, 0], [0, 0, 0]), "zero vector for 2 texts"),
        (_rows([1, 2, 3]), r"shape \(1, 3\) for 2 texts of 3 dims"),
        (_rows([1, 2, 3], [1, 2, 3], [1, 2, 3]), r"shape \(3, 3\) for 2 texts of 3 dims"),
        (_rows([1, 2], [1, 2]), r"shape \(2, 2\) for 2 texts of 3 dims"),
        (np.ones(6, dtype=np.float32), r"shape \(6,\) for 2 texts of 3 dims"),
        (np.ones((1, 2, 3), dtype=np.float32), r"shape \(1, 2, 3\) for 2 texts of 3 dims"),
    ],
)
def test_rows_that_cannot_be_stored_are_refused_with_the_model_and_the_reason(rows: Vectors, reason: str) -> None:
    with pytest.raises(EmbeddingError, match=f"model some-model returned .*{reason}"):
        unit_rows(rows, 2, 3, "some-model")


def test_rows_are_scaled_to_unit_length_in_their_own_direction() -> None:
    unit = unit_rows(_rows([3, 4, 0], [0, -0.001, 0], [100, 100, 100]), 3, 3, "some-model")
    expected = _rows([0.6, 0.8, 0], [0, -1, 0], [3**-0.5] * 3)
    np.testing.assert_allclose(unit, expected, atol=1e-6)


def test_rows_come_back_as_contiguous_float32_whatever_they_were() -> None:
    columns_first = cast(Vectors, np.asfortranarray(np.arange(1, 13, dtype=np.float64).reshape(4, 3)))
    unit = unit_rows(columns_first, 4, 3, "some-model")
    assert unit.dtype == np.float32
    assert unit.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), np.ones(4), atol=1e-6)


def test_the_models_own_array_is_left_as_it_was() -> None:
    rows = _rows([3, 4])
    unit_rows(rows, 1, 2, "some-model")
    np.testing.assert_array_equal(rows, [[3, 4]])


def test_no_texts_give_no_rows() -> None:
    assert unit_rows(np.empty((0, 3), dtype=np.float32), 0, 3, "some-model").shape == (0, 3)
