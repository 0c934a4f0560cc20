// Plain Node.js: mqtt.js and onnxruntime-node. Windows that become due while a session call runs
// go into the next call together.
//
//     node node.mjs SETTINGS    (JSON: port, model, filter, out, length, hop, signals, tags)

import mqtt from "mqtt";
import ort from "onnxruntime-node";

const settings = JSON.parse(process.argv[2]);
const { length, hop, signals, threshold, out } = settings;
const channels = signals.length;
const values = length * channels;
const session = await ort.InferenceSession.create(settings.model, {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
});
const client = mqtt.connect({
  host: "127.0.0.1",
  port: settings.port,
  protocolVersion: 4,
  clientId: "node",
});

const rings = new Map();
let due = [];
let busy = false;

function addSample(asset, timestamp, pick) {
  let ring = rings.get(asset);
  if (ring === undefined) {
    ring = { rows: new Float32Array(2 * values), count: 0, due: length };
    rings.set(asset, ring);
  }
  const place = (ring.count % length) * channels;
  for (let channel = 0; channel < channels; channel += 1) {
    const value = pick[signals[channel]];
    ring.rows[place + channel] = value;
    ring.rows[place + values + channel] = value;
  }
  ring.count += 1;
  if (ring.count < ring.due) return;
  ring.due += hop;
  const start = place + channels;
  due.push({ asset, timestamp, window: ring.rows.slice(start, start + values) });
  if (!busy) predict();
}

async function predict() {
  busy = true;
  while (due.length > 0) {
    const batch = due;
    due = [];
    const input = new Float32Array(batch.length * values);
    batch.forEach((item, index) => input.set(item.window, index * values));
    const window = new ort.Tensor("float32", input, [batch.length, length, channels]);
    const outputs = await session.run({ window });
    batch.forEach((item, index) => publish(item, index, outputs));
  }
  busy = false;
}

function publish({ asset, timestamp }, index, outputs) {
  const score = outputs.score.data[index];
  const parts = outputs.contribution.data.subarray(index * channels, (index + 1) * channels);
  const top = signals.map((name, channel) => [name, parts[channel]]);
  top.sort((one, other) => other[1] - one[1]);
  const prediction = {
    timestamp: 0,
    asset,
    model: "model",
    version: "1.0.0",
    score,
    threshold,
    alarm: score > threshold ? "active" : "normal",
    quality: "good",
    provider: "cpu",
    id: `${asset}:${timestamp}`,
    outputs: {},
    top: top.slice(0, 3),
  };
  // Nanoseconds are beyond what a number of JavaScript holds exactly.
  const text = JSON.stringify(prediction);
  client.publish(`${out}/${asset}`, text.replace('"timestamp":0', `"timestamp":${timestamp}000000`));
}

function onRow(topic, payload) {
  const data = JSON.parse(payload);
  addSample(topic.split("/")[1], data.timestamp, data.values);
}

const latest = new Map();

function onTag(topic, payload) {
  const [, asset, name] = topic.split("/");
  const data = JSON.parse(payload);
  let held = latest.get(asset);
  if (held === undefined) {
    held = { time: data.t, known: 0, values: {} };
    latest.set(asset, held);
  }
  if (data.t !== held.time && held.known === channels) addSample(asset, held.time, held.values);
  held.time = data.t;
  if (held.values[name] === undefined) held.known += 1;
  held.values[name] = data.v;
}

client.on("message", settings.tags ? onTag : onRow);
client.on("connect", () => client.subscribe(settings.filter, () => console.log("ready")));
