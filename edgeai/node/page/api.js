// The requests of the page. Addresses are relative, so that the page works behind a proxy.

const TIMEOUT_MS = 4000;
const TOKEN = "edgeai-token";
const TOKEN_MINUTES = 15;
const OPERATOR = "edgeai-operator";

/** An answer that is no success: its status, and the text of the node. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** A token that no header can carry, so no node has it: letters other than ASCII. */
export class Unsendable extends Error {}

async function request(path, options = {}) {
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  let content = {};
  try {
    content = await answer.json();
  } catch {
    // a proxy may answer with a page
  }
  if (!answer.ok) throw new Refused(answer.status, content.error ?? answer.statusText);
  return content;
}

export const fetchState = () => request("api/state");

export const fetchAsset = (asset) =>
  request(`api/asset?asset=${encodeURIComponent(asset)}`);

export const fetchHistory = (pipeline, asset, after) =>
  request(
    `api/history?pipeline=${encodeURIComponent(pipeline)}&asset=${encodeURIComponent(asset)}` +
      (after === null ? "" : `&after=${after}`),
  );

// Kept until the browser's tab is closed, or a while after the last command: a screen in a hall has
// many users.
export const token = {
  get() {
    const [used, value] = JSON.parse(sessionStorage.getItem(TOKEN) ?? "[0, null]");
    return Date.now() - used < TOKEN_MINUTES * 60_000 ? value : null;
  },
  set: (value) => sessionStorage.setItem(TOKEN, JSON.stringify([Date.now(), value])),
  forget() {
    sessionStorage.removeItem(TOKEN);
    operator.set("");
  },
};

// The name of who gives the commands, kept with the token.
export const operator = {
  get: () => sessionStorage.getItem(OPERATOR) ?? "",
  set: (name) =>
    (name ? sessionStorage.setItem(OPERATOR, name) : sessionStorage.removeItem(OPERATOR)),
};

/** Give a command with the token that is kept. Throws `Refused` or `Unsendable`. */
export async function sendCommand(name, content) {
  const kept = token.get() ?? "";
  if (!/^[!-~]*$/.test(kept)) throw new Unsendable();
  return request(`api/commands/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${kept}` },
    body: JSON.stringify(content),
  });
}
