"""The towers one can choose from. A new tower is one file and one name here."""

from typing import Annotated

from pydantic import Field

from models.towers.adatt import AdattConfig
from models.towers.home import HomeConfig
from models.towers.mmoe import MmoeConfig
from models.towers.ple import PleConfig
from models.towers.shared_bottom import SharedBottomConfig
from models.towers.single_task import SingleTaskConfig

TowerConfig = Annotated[
    HomeConfig | MmoeConfig | PleConfig | AdattConfig | SharedBottomConfig | SingleTaskConfig,
    Field(discriminator="kind"),
]
"""The config of a tower, told apart by `kind`; each has build(num_features, tasks, batch_mean)."""
