import { html, useRef, useState } from "../vendor/preact.js";
import { get } from "../api.js";
import { count, duration, Empty, Notice, Spark, Status, Time, useEvery, useLoad } from "../parts.js";
import { href } from "../route.js";

const KEPT = 120;

export function Overview() {
  const stats = useLoad(async () => (await get("v1/stats")).data, []);
  const history = useRef([]);
  const [, drawn] = useState(0);
  useEvery(2, () => stats.again());
  const now = stats.data;
  const last = history.current[history.current.length - 1];
  if (now && (!last || last.at !== now.at)) {
    history.current = [...history.current, now].slice(-KEPT);
    if (history.current.length === 1) setTimeout(() => drawn(1));
  }
  if (!now) return stats.error ? html`<${Notice} error=${stats.error} />` : html`<p class="boot">Loading…</p>`;
  const per = (window) => (window && window.seconds ? window.jobs / window.seconds : 0);
  const rates = history.current.filter((s) => s.recent).map((s) => per(s.recent.minute));
  const waiting = now.workers ? now.workers.messages : null;
  const lag = now.projection ? Math.max(...Object.values(now.projection).map((p) => p.seconds || 0)) : null;
  return html`<div class="head"><h1>Overview</h1><span class="soft small">as of <${Time} at=${now.at} /></span></div>
    <${Notice} error=${stats.error} />
    ${now.missing.map((m) => html`<${Notice} kind="warn">${m.part}: ${m.reason}</${Notice}>`)}
    <div class="cards">
      <${Card} name="Unfinished jobs" value=${now.jobs && count(now.jobs.unfinished.value)} link=${href("/jobs", { q: "status:PENDING" })} />
      <${Card} name="Ended in the last minute" value=${now.recent && count(now.recent.minute.jobs)} />
      <${Card} name="Failed in the last hour" value=${now.recent && count(failed(now.recent.hour))} bad=${now.recent && failed(now.recent.hour) > 0} link=${href("/jobs", { q: "status:FAILED" })} />
      <${Card} name="Messages waiting for workers" value=${count(waiting)} note=${now.workers && now.workers.seconds ? `oldest ${duration(now.workers.seconds)}` : ""} />
      <${Card} name="Projection lag" value=${duration(lag)} bad=${lag > 10} />
      <${Card} name="Dead letters" value=${count(now.dead_letters)} bad=${now.dead_letters > 0} link=${href("/system")} />
    </div>
    <div class="two">
      <section><h2>Jobs per second</h2><div class="panel"><div class="body"><${Spark} values=${rates} /><p class="soft small">Jobs that ended, average of the last minute, sampled every two seconds since the page was opened.</p></div></div></section>
      <section><h2>Failed by type</h2>${failures(now.recent)}</section>
      <section><h2>Jobs by status</h2>${byStatus(now.jobs)}</section>
      <section><h2>Oldest unfinished</h2>${oldest(now.jobs)}</section>
    </div>`;
}

const failed = (window) => (window ? window.failed_jobs : 0);

function Card({ name, value, note, bad, link }) {
  const inner = html`<div class="soft small">${name}</div><div class="value">${value ?? "—"}</div>${note && html`<div class="soft small">${note}</div>`}`;
  return html`<div class=${`card ${bad ? "bad" : ""}`}>${link ? html`<a href=${link}>${inner}</a>` : inner}</div>`;
}

function failures(recent) {
  const rows = Object.entries((recent && recent.failures) || {});
  if (!rows.length) return html`<div class="panel"><${Empty}>No job failed in the last hour.</${Empty}></div>`;
  const most = Math.max(...rows.map(([, n]) => n));
  return html`<div class="panel scroll"><table><thead><tr><th>Type</th><th class="right">Failed</th><th></th></tr></thead><tbody>${rows.map(([type, n]) => html`<tr>
    <td class="one"><a href=${href("/jobs", { q: `status:FAILED type:${quoted(type)}` })}>${type}</a></td><td class="num">${count(n)}</td>
    <td><meter class="grow" min="0" max=${most} value=${n} aria-label=${`${n} failed`}></meter></td></tr>`)}</tbody></table></div>`;
}

function byStatus(jobs) {
  if (!jobs) return html`<div class="panel"><${Empty}>PostgreSQL does not answer.</${Empty}></div>`;
  return html`<div class="panel scroll"><table><tbody>${Object.entries(jobs.by_status).map(([status, n]) => html`<tr>
    <td><a href=${href("/jobs", { q: `status:${status}` })}><${Status} status=${status} /></a></td><td class="num">${n.exact ? "" : "≈ "}${count(n.value)}</td></tr>`)}</tbody></table></div>`;
}

function oldest(jobs) {
  const one = jobs && jobs.oldest_unfinished;
  if (!one) return html`<div class="panel"><${Empty}>Every job has ended.</${Empty}></div>`;
  return html`<div class="panel"><div class="body"><dl class="facts"><dt>Job</dt><dd><a class="mono" href=${href(`/jobs/${one.id}`)}>${one.id}</a></dd><dt>Type</dt><dd>${one.type}</dd><dt>Submitted</dt><dd><${Time} at=${one.inserted_at} /></dd></dl></div></div>`;
}

export const quoted = (text) => (/^[\w.-]+$/.test(text) ? text : JSON.stringify(text));
