from __future__ import annotations

import pytest
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig

from embeddings.table_names import check_table_name


def collection(name: str) -> EmbeddingBagCollection:
    config = EmbeddingBagConfig(name=name, embedding_dim=4, num_embeddings=2, feature_names=["f"])
    return EmbeddingBagCollection(tables=[config])


@pytest.mark.parametrize("name", ["items", "values", "type", "training"])
def test_a_name_that_torch_keeps_is_rejected_before_torch_does(name: str) -> None:
    with pytest.raises(KeyError):
        collection(name)
    with pytest.raises(ValueError, match=f"cannot be called '{name}'.*'{name}_'"):
        check_table_name(name)


@pytest.mark.parametrize("name", ["item", "user_id", "items_", "_x"])
def test_other_names_are_free(name: str) -> None:
    assert check_table_name(name) == name
    collection(name)
