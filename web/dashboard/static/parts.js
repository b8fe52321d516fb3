// What the pages share: statuses, times, JSON, tables, notices, copying.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { ExactNumber } from "./api.js";

const SHAPES = {
  good: html`<path d="M2 6.5 5 9.5 10 3" fill="none" stroke="currentColor" stroke-width="2"/>`,
  bad: html`<path d="M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5" fill="none" stroke="currentColor" stroke-width="2"/>`,
  busy: html`<circle cx="6" cy="6" r="4.5" fill="currentColor"/>`,
  idle: html`<circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.8"/>`,
  off: html`<path d="M2 6h8" stroke="currentColor" stroke-width="2"/>`,
};
const KINDS = {
  PROCESSED: "good", FAILED: "bad", RESCUED: "bad", CONSUMED: "busy", PENDING: "idle", NEW: "idle", ABORTED: "off", CANCELLED: "off",
};
const tone = (kind) => (kind === "off" ? "idle" : kind);

export const toneOf = (status) => tone(KINDS[status] || "idle");

export function Mark({ status }) {
  const kind = KINDS[status] || "idle";
  return html`<svg viewBox="0 0 12 12" aria-hidden="true" class=${`status ${tone(kind)}`}>${SHAPES[kind]}</svg>`;
}

export function Status({ status }) {
  const kind = KINDS[status] || "idle";
  return html`<span class=${`status ${tone(kind)}`}><svg viewBox="0 0 12 12" aria-hidden="true">${SHAPES[kind]}</svg>${status}</span>`;
}

/** A time in the reader's zone, with UTC on hover. */
export function Time({ at, empty = "—" }) {
  if (!at) return html`<span class="soft">${empty}</span>`;
  const date = new Date(at);
  return html`<time datetime=${at} title=${`${date.toISOString()} (UTC)`} class="nowrap">${date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })}</time>`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "—";
  const s = Math.max(0, Number(seconds));
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export const between = (from, to) => (from && to ? duration((new Date(to) - new Date(from)) / 1000) : "—");
export const count = (n) => (n === null || n === undefined ? "—" : Number(n).toLocaleString());

export function Notice({ error, kind = "bad", children }) {
  if (!error && !children) return null;
  return html`<div class=${`notice ${kind}`} role=${kind === "bad" ? "alert" : "status"}>
    ${error ? error.message : children}
    ${error && error.fields && error.fields.length > 0 && html`<ul>${error.fields.map((f) => html`<li><code>${f.field}</code>: ${f.message}</li>`)}</ul>`}
  </div>`;
}

export function Empty({ children }) { return html`<div class="empty">${children}</div>`; }

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const area = document.createElement("textarea");
      area.value = text();
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 1200);
  };
  return html`<button class="plain small" onClick=${copy} aria-live="polite">${done ? "Copied" : label}</button>`;
}

/** The JSON text of a value, with exact numbers. */
export function stringify(value, indent = 2, depth = 0) {
  if (value instanceof ExactNumber) return value.source;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pad = " ".repeat(indent * (depth + 1));
  const end = " ".repeat(indent * depth);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((v) => pad + stringify(v, indent, depth + 1)).join(",\n")}\n${end}]`;
  }
  const keys = Object.keys(value);
  if (keys.length === 0) return "{}";
  return `{\n${keys.map((k) => `${pad}${JSON.stringify(k)}: ${stringify(value[k], indent, depth + 1)}`).join(",\n")}\n${end}}`;
}

/** JSON as a tree that folds. */
export function Json({ value, open = 2 }) {
  return html`<div class="json"><${Node} value=${value} open=${open} /></div>`;
}

function Node({ name, value, open }) {
  const key = name === undefined ? "" : html`<span class="k">${name}: </span>`;
  if (value === null || typeof value !== "object" || value instanceof ExactNumber) {
    const type = value === null || typeof value === "boolean" ? "l" : typeof value === "string" ? "s" : "n";
    const text = value instanceof ExactNumber ? value.source : typeof value === "string" ? value : JSON.stringify(value);
    return html`<div class="leaf">${key}<span class=${type}>${text === "" ? '""' : text}</span></div>`;
  }
  const entries = Array.isArray(value) ? value.map((v, i) => [i, v]) : Object.entries(value);
  const shape = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (entries.length === 0) return html`<div class="leaf">${key}<span class="k">${Array.isArray(value) ? "[]" : "{}"}</span></div>`;
  const shown = entries.slice(0, 200);
  return html`<details open=${open > 0}><summary>${key}<span class="k">${shape}</span></summary><div>
    ${shown.map(([k, v]) => html`<${Node} key=${k} name=${k} value=${v} open=${open - 1} />`)}
    ${entries.length > shown.length && html`<div class="leaf soft">… ${entries.length - shown.length} more</div>`}
  </div></details>`;
}

/** Run `load` now and whenever `inputs` change; returns {data, error, loading, again}. */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    setState((old) => ({ ...old, loading: true }));
    load().then(
      (data) => current && setState({ data, error: null, loading: false }),
      (error) => current && setState((old) => ({ data: old.data, error, loading: false })),
    );
    return () => { current = false; };
  }, [...inputs, turn]);
  return { ...state, again: () => setTurn((n) => n + 1) };
}

/** Call `action` every `seconds` while the page is visible. */
export function useEvery(seconds, action) {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) latest.current(); }, seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
}

/** A dialog that asks before something is done. */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  useEffect(() => { ref.current.showModal(); }, []);
  return html`<dialog ref=${ref} onClose=${onClose} aria-label=${title}><div class="head"><h1>${title}</h1>
    <button class="plain" onClick=${() => ref.current.close()} aria-label="Close">✕</button></div>${children}</dialog>`;
}

export function Spark({ values, kind = "" }) {
  if (values.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  const top = Math.max(...values, 1);
  const step = 100 / (values.length - 1);
  const path = values.map((v, i) => `${i ? "L" : "M"}${(i * step).toFixed(2)} ${(38 - (v / top) * 36).toFixed(2)}`).join("");
  return html`<svg class="spark" viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true"><path class=${kind} d=${path} /></svg>`;
}
