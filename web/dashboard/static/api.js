// Calls of the HTTP API, with the session cookie. Numbers that JavaScript cannot hold are kept as they were sent.

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.type = error.type;
    this.fields = error.fields || [];
  }
}

/** A number kept as its JSON text, since a double would change it. */
export class ExactNumber {
  constructor(source) { this.source = source; }
  toString() { return this.source; }
}

export function parse(text) {
  return JSON.parse(text, (_key, value, context) => {
    if (typeof value === "number" && context && context.source !== undefined && String(value) !== context.source) {
      return /^-?\d+$/.test(context.source) && !Number.isSafeInteger(value) ? new ExactNumber(context.source) : value;
    }
    return value;
  });
}

const listeners = new Set();
export function onSignedOut(listener) { listeners.add(listener); }

async function call(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, { type: "unreachable", message: "The web process does not answer." });
  }
  const text = await response.text();
  let document;
  try {
    document = parse(text);
  } catch {
    throw new ApiError(response.status, { type: "not_json", message: `The response (${response.status}) is not JSON.` });
  }
  if (response.ok) return document;
  if (response.status === 401 && path !== "v1/session") listeners.forEach((listener) => listener());
  throw new ApiError(response.status, document.error || { type: "unknown", message: text });
}

export const get = (path, query = {}) => call("GET", withQuery(path, query));
export const post = (path, body) => call("POST", path, body);
export const del = (path) => call("DELETE", path);

export function withQuery(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, value);
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

/** The same call as a command, for "copy as curl". */
export function curl(method, path, body) {
  const url = new URL(path, document.baseURI).href;
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl -s", method === "GET" ? "" : `-X ${method}`, `-H "Authorization: Bearer $JABBA_KEY"`, quote(url)];
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(body))}`);
  return parts.filter(Boolean).join(" ");
}
