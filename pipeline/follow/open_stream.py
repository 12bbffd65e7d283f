"""Opens a log to follow: the data folder's program, and the files that come after it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.tree import Config
from pipeline.data.columns import Columns
from pipeline.data.schema import Schema
from pipeline.data.sources.config import FilesConfig
from pipeline.data.stream.growing_folder import GrowingFolder
from pipeline.data.stream.kafka_topic import KafkaTopic, is_kafka
from pipeline.data.stream.log import Log
from pipeline.data.stream.window import LogPosition
from pipeline.data.stream.window_rows import WindowReader
from pipeline.data.stream.window_source import WindowSource
from pipeline.data.table.folder import load_table
from pipeline.io.errors import UserError
from pipeline.loop.data import TrainData
from pipeline.ranks.world import World
from pipeline.training.batch_size import batch_sizes
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Result of `open_stream`."""

    data: TrainData
    source: WindowSource
    """`data.train`."""
    log: Log
    reader: WindowReader
    global_batch: int
    """Rows per step over all ranks."""


def open_stream(config: Config, world: World) -> Stream:
    """Open the log on this rank. Raises UserError if the data folder was not prepared from a table,
    or the configuration needs a last step."""
    if config.schedule.decay in ("linear", "cosine"):
        raise UserError(
            f"schedule.decay: {config.schedule.decay} ends at a last step, and a log that is "
            "followed has none; use --schedule.decay constant or inverse_sqrt"
        )
    folder = config.data.path
    schema = Schema.load(folder)
    record = load_table(folder)
    if record is None:
        raise UserError(
            f"{folder}: not prepared from a table of your own, whose program --follow uses; see "
            "'homerec init' and 'homerec prepare table'"
        )
    if record.encode == "always":
        raise UserError(
            "data.encode: always reads the prepared files again, among which new ones appear; "
            "prepare the folder with data.encode once"
        )
    chosen = resolve_features(config, schema)
    columns = Columns(
        schema,
        features=chosen.features,
        tasks=chosen.labels,
        hash_rows=schema.hash_rows(config.embeddings.hash_rows),
        with_oracle=False,
        events=[tuple(pairs) for pairs in chosen.attention.events.values()],
    )
    log = _open_log(config, record.spec.source)
    rows = batch_sizes(config.train, world.size).per_rank
    start = LogPosition(done={file.name: file.size for file in record.files})
    source = WindowSource(columns, start, global_batch=rows * world.size)
    reader = WindowReader(
        record, folder, columns, log, batch_size=rows, rank=world.rank, world_size=world.size
    )
    validation = open_split(config, chosen, "val", world, purpose="eval")
    return Stream(
        data=TrainData(schema=schema, chosen=chosen, train=source, validation=validation),
        source=source,
        log=log,
        reader=reader,
        global_batch=rows * world.size,
    )


def _open_log(config: Config, files: FilesConfig) -> Log:
    settings = config.follow
    if is_kafka(settings.source):
        assert settings.source is not None
        return KafkaTopic(settings.source, start=settings.kafka_start, skip_lost=settings.skip_lost)
    if settings.source is not None:
        files = files.model_copy(update={"path": (settings.source,)})
    return GrowingFolder(files)
