// Messages and predictions per second, from the counts of the last answers.

const SECONDS = 10;

export class Rates {
  #seen = [];

  /** Add an answer of the node. */
  add(state) {
    const one = { now: state.now, started: state.started, received: state.received,
      predicted: state.predicted, pipelines: new Map() };
    for (const pipeline of state.pipelines) one.pipelines.set(pipeline.name, pipeline.messages);
    if (this.#seen.at(-1)?.started !== one.started) this.#seen = []; // it was started again
    this.#seen.push(one);
    while (this.#seen.length > 2 && one.now - this.#seen[1].now >= SECONDS) this.#seen.shift();
  }

  /** Return a rate, null before the second answer. `read` takes an answer and returns a count. */
  of(read) {
    const [first, newest] = [this.#seen[0], this.#seen.at(-1)];
    if (!first || newest.now - first.now < 0.5) return null;
    return Math.max(0, read(newest) - read(first)) / (newest.now - first.now);
  }
}
