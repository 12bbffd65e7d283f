"""The naive form of any tower."""

from collections.abc import Sequence

from torch import nn

from models.tasks import Task
from models.towers.adatt import AdaTT
from models.towers.home import HoME
from models.towers.mmoe import MMoE
from models.towers.ple import PLE
from models.towers.rankmixer import RankMixer
from models.towers.shared_bottom import SharedBottom
from models.towers.single_task import SingleTask
from models.towers.smes import SMES
from tests.models.reference.home import ReferenceHome
from tests.models.reference.one_level import (
    ReferenceMmoe,
    ReferenceSharedBottom,
    ReferenceSingleTask,
)
from tests.models.reference.parts import Reference
from tests.models.reference.rankmixer import ReferenceRankMixer
from tests.models.reference.smes import ReferenceSmes
from tests.models.reference.stacks import ReferenceAdatt, ReferencePle


def reference(model: nn.Module, tasks: Sequence[Task]) -> Reference:
    """The naive form of `model`, which was built for `tasks`."""
    result: Reference
    if isinstance(model, HoME):
        result = ReferenceHome(model, tasks)
    elif isinstance(model, MMoE):
        result = ReferenceMmoe(model, tasks)
    elif isinstance(model, PLE):
        result = ReferencePle(model, tasks)
    elif isinstance(model, AdaTT):
        result = ReferenceAdatt(model, tasks)
    elif isinstance(model, SMES):
        result = ReferenceSmes(model, tasks)
    elif isinstance(model, RankMixer):
        result = ReferenceRankMixer(model, tasks)
    elif isinstance(model, SingleTask):
        result = ReferenceSingleTask(model, tasks)
    else:
        assert isinstance(model, SharedBottom)
        result = ReferenceSharedBottom(model, tasks)
    # Every weight of the batched form must have its counterpart.
    linked = sum(link.parameter.numel() for link in result.links)
    assert linked == sum(parameter.numel() for parameter in model.parameters())
    return result.train(model.training)
