// A plan of the data, with its shards spelt out where they are needed.

class Plan {
  constructor(raw) {
    Object.assign(this, raw);
    this.ranks = raw.cluster.ranks;
    this.local = raw.cluster.devices_per_host;
    this.length = raw.tables.name.length;
    this.places = new Array(this.length).fill(null);
    this.inCells = new Array(this.length).fill(null);
    this.index = new Map(raw.tables.name.map((name, table) => [name, table]));
    this.load = Float64Array.from(raw.rated);
    this.mean = this.load.reduce((sum, took) => sum + took, 0) / this.ranks;
    this.busiest = this.load.indexOf(Math.max(...this.load));
    // Of a table: shards, what they take on all ranks together, bytes of all of them.
    this.shards = new Int32Array(this.length);
    this.took = new Float64Array(this.length);
    this.weight = new Float64Array(this.length);
    const { dim, width, cuts, bytes, rated_ms: rated } = raw.tables;
    for (let table = 0; table < this.length; table++) {
      const blocks = dim[table] / width[table];
      let rows = 0, cut = 0;
      for (const [height, times] of cuts[table]) { rows += height * times; cut += times; }
      this.shards[table] = blocks * cut;
      this.took[table] = rated[table] * this.shards[table];
      const [aRow, anElement] = bytes[table];
      this.weight[table] = blocks * rows * (aRow + width[table] * anElement);
    }
    this.allTook = this.took.reduce((sum, took) => sum + took, 0);
    this.allWeight = this.weight.reduce((sum, bytes) => sum + bytes, 0);
  }

  // The rank of every shard.
  rankList(table) {
    if (!this.places[table]) {
      const found = new Int32Array(this.shards[table]);
      let at = 0;
      for (const run of this.tables.ranks[table].split(',')) {
        const [first, last = first] = run.split('-').map(Number);
        for (let rank = first; rank <= last; rank++) found[at++] = rank;
      }
      this.places[table] = found;
    }
    return this.places[table];
  }

  // Rows and columns of a shard, and where they begin.
  shard(table, number) {
    const { cuts, width, bytes, copied } = this.tables;
    const inBlock = cuts[table].reduce((sum, [, times]) => sum + times, 0);
    let left = number % inBlock, row = 0, rows = 0;
    for (const [height, times] of cuts[table]) {
      rows = height;
      if (left < times) { row += left * height; break; }
      row += times * height;
      left -= times;
    }
    if (copied[table]) row = 0;
    const [aRow, anElement] = bytes[table];
    return {
      row, rows, column: width[table] * Math.floor(number / inBlock), columns: width[table],
      bytes: rows * (aRow + width[table] * anElement),
    };
  }

  // The shards of a table that a rank has.
  at(table, rank) {
    const found = [];
    this.rankList(table).forEach((place, number) => {
      if (place === rank) found.push(this.shard(table, number));
    });
    return found;
  }

  // A table's cells of the map: its ranks, each once, and bytes and shards there.
  cells(table) {
    if (!this.inCells[table]) {
      const { cuts, width, bytes, dim } = this.tables;
      const [aRow, anElement] = bytes[table];
      const places = this.rankList(table);
      const sums = new Map();
      let number = 0;
      for (let block = 0; block < dim[table] / width[table]; block++)
        for (const [height, times] of cuts[table])
          for (let i = 0; i < times; i++) {
            const rank = places[number++];
            const cell = sums.get(rank) || [0, 0];
            cell[0] += height * (aRow + width[table] * anElement);
            cell[1] += 1;
            sums.set(rank, cell);
          }
      const ranks = Int32Array.from(sums.keys());
      const values = [...sums.values()];
      this.inCells[table] = {
        ranks,
        bytes: Float64Array.from(values, value => value[0]),
        shards: Int32Array.from(values, value => value[1]),
      };
    }
    return this.inCells[table];
  }

  imbalance() { return this.mean ? this.load[this.busiest] / this.mean : 1; }

  // Memories that the cluster has and the plan uses.
  memories() {
    return Object.keys(this.used).filter(memory => Math.max(...this.room[memory]) > 0 && Math.max(...this.used[memory]) > 0);
  }

  most(memory) {
    let rank = 0;
    this.used[memory].forEach((used, other) => { if (used > this.used[memory][rank]) rank = other; });
    return rank;
  }
}

const plans = PAGE.plans.map(raw => new Plan(raw));
