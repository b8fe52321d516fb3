import { html } from "../vendor/preact.js";
import { get } from "../api.js";
import { count, duration, Empty, Notice, Time, useEvery, useLoad } from "../parts.js";
import { href } from "../route.js";

export function System({ allowed }) {
  const stats = useLoad(async () => (await get("v1/stats")).data, []);
  const audit = useLoad(async () => (allowed("administer") ? (await get("v1/audit", { limit: 50 })).data : null), []);
  useEvery(5, () => stats.again());
  const now = stats.data;
  return html`<div class="head"><h1>System</h1></div><${Notice} error=${stats.error} />
    ${now && now.missing.map((m) => html`<${Notice} kind="warn">${m.part}: ${m.reason}</${Notice}>`)}
    <div class="two"><section><h2>Workers: messages that wait</h2><${Waiting} waiting=${now && now.workers} /></section>
      ${["tasks", "events"].map((topic) => html`<section><h2>Projection: ${topic} that wait</h2><${Waiting} waiting=${now && now.projection && now.projection[topic]} /></section>`)}
      <section><h2>Dead letters</h2><div class="panel"><div class="body">${now && now.dead_letters ? html`<p><strong>${count(now.dead_letters)}</strong> messages could not be decoded.</p><p class="soft small">Read them with <code>jabba dead-letters list</code>, send one again with <code>jabba dead-letters retry</code>.</p>` : html`<span class="soft">None.</span>`}</div></div></section></div>
    <h2>Audit</h2>${audit.data === null ? html`<p class="soft">${audit.error ? audit.error.message : "Needs an admin's key."}</p>` : html`<div class="panel scroll"><table><thead><tr><th>When</th><th>Who</th><th>What</th><th>About</th></tr></thead><tbody>${audit.data.map((one) => html`<tr><td><${Time} at=${one.at} /></td><td class="one">${one.key_name || one.user_name || one.key_id}</td><td class="one">${one.action}</td><td class="one mono">${one.job_id ? html`<a data-row href=${href(`/jobs/${one.job_id}`)}>${one.job_id}</a>` : one.about_key}</td></tr>`)}</tbody></table></div>`}`;
}

function Waiting({ waiting }) {
  if (!waiting) return html`<div class="panel"><${Empty}>Not known now.</${Empty}></div>`;
  const rows = Object.entries(waiting.partitions);
  return html`<div class="panel"><div class="body"><p><strong>${count(waiting.messages)}</strong> messages, the oldest for ${duration(waiting.seconds)}</p></div>
    ${rows.length > 0 && html`<table><thead><tr><th>Partition</th><th class="right">Messages</th></tr></thead><tbody>${rows.map(([partition, n]) => html`<tr><td>${partition}</td><td class="num">${count(n)}</td></tr>`)}</tbody></table>`}</div>`;
}
