// The address is the state: `#/jobs?q=status:FAILED`.

import { signal } from "./vendor/preact.js";

function read() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", query: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = signal(read());
addEventListener("hashchange", () => { route.value = read(); });

export function href(path, query = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== ""));
  const text = parameters.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

export function go(path, query = {}, { replace = false } = {}) {
  const target = href(path, query);
  if (replace) history.replaceState(null, "", target);
  else location.hash = target;
  route.value = read();
}
