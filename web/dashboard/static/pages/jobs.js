import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { curl, get, withQuery } from "../api.js";
import { between, Copy, count, Dialog, Empty, Notice, Status, stringify, Time, useLoad } from "../parts.js";
import { listen } from "../live.js";
import { go, href } from "../route.js";
import { quoted } from "./overview.js";

const STATUSES = ["PENDING", "PROCESSED", "FAILED", "CANCELLED"];
const FIELDS = ["status:", "type:", "name:", "meta.", "id:", "strategy:", "inserted_at>", "ended_at>", "tasks.status:", "tasks.name:", "tasks.callback.module:", "tasks.callback.function:", "tasks.result.error:"];
const COLUMNS = { status: "Status", type: "Type", name: "Name", id: "Id", meta: "Meta", inserted_at: "Submitted", ended_at: "Ended", took: "Took" };
const DEFAULT = ["status", "type", "name", "meta", "inserted_at", "took"];
const SORTABLE = new Set(["status", "type", "name", "inserted_at", "ended_at"]);
const PAGE = 50;
const VIEWS = "jabba.views";

export function Jobs({ query }) {
  const q = query.q || "";
  const columns = query.columns ? query.columns.split(",") : DEFAULT;
  const [direction, field] = (query.order || "desc inserted_at").split(" ");
  const [pages, setPages] = useState({ rows: [], next: null });
  const [live, setLive] = useState(0);
  const [error, setError] = useState(null);
  const [choosing, setChoosing] = useState(false);
  const body = { query: q, order_by: [[direction, field]] };
  const first = useLoad(async () => search({ ...body, cursor: [0, PAGE], count: true }), [q, direction, field]);
  useEffect(() => { if (first.data) { setPages({ rows: first.data.data, next: first.data.next }); setLive(0); } }, [first.data]);
  useEffect(() => listen((event) => setLive((n) => n + 1)), []);
  const set = (changes) => go("/jobs", { ...query, ...changes });
  const more = async () => {
    try {
      const page = await search({ ...body, cursor: [pages.next, PAGE] });
      setPages({ rows: [...pages.rows, ...page.data], next: page.next });
    } catch (failure) { setError(failure); }
  };
  const found = first.data && first.data.count;
  return html`<div class="head"><h1>Jobs</h1><div class="row">
      ${live > 0 && html`<button onClick=${first.again} aria-live="polite">Refresh · ${count(live)} new events</button>`}
      <button onClick=${() => setChoosing(true)}>Columns</button>
      <${Export} body=${body} rows=${pages.rows} />
      <${Copy} label="Copy as curl" text=${() => curl("POST", "v1/jobs/search", { ...body, cursor: [0, PAGE] })} />
      <${Copy} label="Copy as CLI" text=${() => `jabba search ${q ? `'${q.replaceAll("'", "'\\''")}' ` : ""}--order ${direction === "desc" ? "-" : ""}${field}`} />
    </div></div>
    <${SearchBox} q=${q} onSearch=${(text) => set({ q: text })} />
    <div class="chips" role="group" aria-label="Status">${STATUSES.map((status) => html`<button class="chip" aria-pressed=${q.includes(`status:${status}`) ? "true" : "false"}
        onClick=${() => set({ q: toggle(q, `status:${status}`) })}>${status}</button>`)}
      <${Views} q=${q} query=${query} /></div>
    <${Notice} error=${first.error || error} />
    <p class="soft small" role="status">${found ? `${found.exact ? "" : "about "}${count(found.value)} ${found.value === 1 ? "job" : "jobs"}` : first.loading ? "Searching…" : ""}</p>
    <${List} rows=${pages.rows} columns=${columns} order=${[direction, field]} set=${set} loading=${first.loading} q=${q} />
    ${pages.next && html`<p class="right"><button onClick=${more}>Show ${PAGE} more</button></p>`}
    ${choosing && html`<${Columns} columns=${columns} rows=${pages.rows} onClose=${() => setChoosing(false)} onChange=${(list) => set({ columns: list.join(",") })} />`}`;
}

async function search(body) {
  const { post } = await import("../api.js");
  return post("v1/jobs/search", body);
}

function toggle(q, word) {
  const words = q.split(/\s+/).filter(Boolean);
  const rest = words.filter((one) => !one.startsWith("status:"));
  return words.includes(word) ? rest.join(" ") : [...rest, word].join(" ");
}

/** A virtual list: only the rows near the window are in the page. */
function List({ rows, columns, order, set, loading, q }) {
  const box = useRef(null);
  const [range, setRange] = useState([0, 60]);
  const height = 34;
  useEffect(() => {
    const onScroll = () => {
      if (!box.current) return;
      const top = Math.max(0, -box.current.getBoundingClientRect().top);
      const from = Math.max(0, Math.floor(top / height) - 10);
      setRange([from, from + Math.ceil(innerHeight / height) + 20]);
    };
    onScroll();
    addEventListener("scroll", onScroll, { passive: true });
    addEventListener("resize", onScroll);
    return () => { removeEventListener("scroll", onScroll); removeEventListener("resize", onScroll); };
  }, [rows.length]);
  if (!rows.length) {
    if (loading) return html`<${Empty}>Searching…</${Empty}>`;
    return html`<div class="panel"><${Empty}>${q ? "No job matches." : html`There are no jobs yet. <a href=${href("/submit")}>Submit one</a>.`}</${Empty}></div>`;
  }
  const shown = rows.slice(range[0], range[1]);
  const head = (column) => {
    const name = COLUMNS[column] || column;
    if (!SORTABLE.has(column)) return html`<th scope="col">${name}</th>`;
    const sorted = order[1] === column;
    const next = sorted && order[0] === "desc" ? "asc" : "desc";
    return html`<th scope="col" aria-sort=${sorted ? (order[0] === "asc" ? "ascending" : "descending") : "none"}><button onClick=${() => set({ order: `${next} ${column}` })}>${name}${sorted ? (order[0] === "asc" ? " ↑" : " ↓") : ""}</button></th>`;
  };
  return html`<div class="panel scroll" ref=${box}><table><thead><tr>${columns.map(head)}</tr></thead><tbody>
    ${range[0] > 0 && html`<tr aria-hidden="true" ref=${tall(range[0] * height)}><td colspan=${columns.length}></td></tr>`}
    ${shown.map((job) => html`<tr key=${job.id}>${columns.map((column, at) => html`<td class="one">${at === 0 ? html`<a data-row href=${href(`/jobs/${job.id}`)} aria-label=${`Job ${job.type} ${job.status} ${job.id}`}>${cell(job, column)}</a>` : cell(job, column)}</td>`)}</tr>`)}
    ${range[1] < rows.length && html`<tr aria-hidden="true" ref=${tall((rows.length - range[1]) * height)}><td colspan=${columns.length}></td></tr>`}
  </tbody></table></div>`;
}

const tall = (pixels) => (row) => { if (row) row.style.height = `${pixels}px`; };

function cell(job, column) {
  if (column === "status") return html`<${Status} status=${job.status} />`;
  if (column === "inserted_at" || column === "ended_at") return html`<${Time} at=${job[column]} />`;
  if (column === "took") return between(job.inserted_at, job.ended_at);
  if (column === "id") return html`<span class="mono">${job.id}</span>`;
  if (column === "meta") return html`<span class="mono soft">${oneLine(job.meta)}</span>`;
  if (column.startsWith("meta.")) return html`<span class="mono">${oneLine(at(job.meta, column.slice(5)))}</span>`;
  return job[column] ?? html`<span class="soft">—</span>`;
}

const at = (value, path) => path.split(".").reduce((inner, name) => (inner === null || inner === undefined ? undefined : inner[name]), value);

function oneLine(value) {
  if (value === undefined) return "";
  if (value !== null && typeof value === "object" && !Object.keys(value).length) return "";
  const text = typeof value === "string" ? value : stringify(value, 0).replaceAll("\n", " ");
  return text.length > 90 ? `${text.slice(0, 90)}…` : text;
}

function SearchBox({ q, onSearch }) {
  const [text, setText] = useState(q);
  const [chosen, setChosen] = useState(-1);
  const [open, setOpen] = useState(false);
  const [values, setValues] = useState([]);
  useEffect(() => setText(q), [q]);
  const word = text.split(/\s+/).pop();
  useEffect(() => {
    const match = word.match(/^(status|type|tasks\.status):(.*)$/);
    if (!match || !open) { setValues([]); return undefined; }
    if (match[1] !== "type") { setValues(STATUSES.map((s) => `${match[1]}:${s}`)); return undefined; }
    const timer = setTimeout(async () => {
      try {
        const page = await get("v1/jobs", { q: match[2] ? `type:${quoted(match[2])}*` : "", limit: 100 });
        setValues([...new Set(page.data.map((job) => job.type))].map((type) => `type:${quoted(type)}`));
      } catch { setValues([]); }
    }, 150);
    return () => clearTimeout(timer);
  }, [word, open]);
  const options = open && word ? [...values, ...FIELDS].filter((one) => one.startsWith(word) && one !== word).slice(0, 10) : [];
  const take = (option) => { setText(text.slice(0, text.length - word.length) + option); setChosen(-1); };
  const onKey = (event) => {
    if (event.key === "ArrowDown" && options.length) { event.preventDefault(); setChosen((chosen + 1) % options.length); }
    else if (event.key === "ArrowUp" && options.length) { event.preventDefault(); setChosen((chosen - 1 + options.length) % options.length); }
    else if (event.key === "Tab" && chosen >= 0) { event.preventDefault(); take(options[chosen]); }
    else if (event.key === "Escape") { setOpen(false); event.target.blur(); }
  };
  const submit = (event) => {
    event.preventDefault();
    if (chosen >= 0) take(options[chosen]);
    else { setOpen(false); onSearch(text.trim()); }
  };
  return html`<form class="row" role="search" onSubmit=${submit}><div class="suggest grow">
    <input type="search" class="mono grow" placeholder="status:FAILED type:ord* meta.order>=17" aria-label="Search jobs" value=${text} role="combobox" aria-expanded=${options.length > 0 ? "true" : "false"} aria-controls="suggestions" aria-autocomplete="list"
      onInput=${(e) => { setText(e.target.value); setOpen(true); setChosen(-1); }} onKeyDown=${onKey} onBlur=${() => setTimeout(() => setOpen(false), 150)} />
    ${options.length > 0 && html`<ul id="suggestions" role="listbox" aria-label="Suggestions">${options.map((one, i) => html`<li role="option" aria-selected=${i === chosen ? "true" : "false"} onMouseDown=${(e) => { e.preventDefault(); take(one); }}>${one}</li>`)}</ul>`}
  </div><button class="main" type="submit">Search</button></form>`;
}

function Columns({ columns, rows, onClose, onChange }) {
  const paths = new Set(columns.filter((c) => c.startsWith("meta.")));
  for (const job of rows.slice(0, 50)) for (const name of Object.keys(job.meta || {})) paths.add(`meta.${name}`);
  const flip = (column) => onChange(columns.includes(column) ? columns.filter((c) => c !== column) : [...columns, column]);
  return html`<${Dialog} title="Columns" onClose=${onClose}>${[...Object.keys(COLUMNS), ...[...paths].sort()].map((column) => html`<div><label><input type="checkbox" checked=${columns.includes(column)} disabled=${columns.length === 1 && columns[0] === column} onChange=${() => flip(column)} /> ${COLUMNS[column] || column}</label></div>`)}</${Dialog}>`;
}

function Views({ q, query }) {
  const [views, setViews] = useState(() => JSON.parse(localStorage.getItem(VIEWS) || "[]"));
  const keep = (list) => { localStorage.setItem(VIEWS, JSON.stringify(list)); setViews(list); };
  const known = views.some((v) => v.query.q === q);
  return html`${views.map((view) => html`<button class="chip" aria-pressed=${view.query.q === q ? "true" : "false"} onClick=${() => go("/jobs", view.query)}>★ ${view.query.q || "all"}</button>`)}
    ${known ? html`<button class="plain small" onClick=${() => keep(views.filter((v) => v.query.q !== q))}>Forget this view</button>` : html`<button class="plain small" onClick=${() => keep([...views, { query }])}>Save view</button>`}`;
}

function Export({ body, rows }) {
  const [state, setState] = useState("");
  const run = async (kind) => {
    const jobs = [];
    let cursor = [0, 1000];
    do {
      setState(`${count(jobs.length)}…`);
      const page = await search({ ...body, cursor });
      jobs.push(...page.data);
      cursor = page.next ? [page.next, 1000] : null;
    } while (cursor && jobs.length < 100000);
    setState("");
    const text = kind === "ndjson" ? jobs.map((job) => stringify(job, 0).replaceAll("\n", "")).join("\n") : csv(jobs);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/x-ndjson" }));
    link.download = `jobs.${kind}`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return html`<button disabled=${!rows.length || state} onClick=${() => run("csv")}>${state || "CSV"}</button><button disabled=${!rows.length || state} onClick=${() => run("ndjson")}>NDJSON</button>`;
}

function csv(jobs) {
  const names = ["id", "type", "name", "status", "strategy", "inserted_at", "ended_at", "meta"];
  const field = (value) => {
    const text = value === null || value === undefined ? "" : typeof value === "object" ? stringify(value, 0).replaceAll("\n", "") : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names.join(","), ...jobs.map((job) => names.map((name) => field(job[name])).join(","))].join("\r\n");
}
