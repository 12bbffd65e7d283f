"""The towers one can choose from. A new tower is one file and one name here."""

from typing import Annotated

from pydantic import Field

from models.adatt import AdattConfig
from models.home import HomeConfig
from models.mmoe import MmoeConfig
from models.ple import PleConfig
from models.shared_bottom import SharedBottomConfig
from models.single_task import SingleTaskConfig

TowerConfig = Annotated[
    HomeConfig | MmoeConfig | PleConfig | AdattConfig | SharedBottomConfig | SingleTaskConfig,
    Field(discriminator="kind"),
]
"""The config of a tower, told apart by `kind`; each has build(num_features, tasks, batch_mean)."""
