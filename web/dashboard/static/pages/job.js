import { html, useEffect, useState } from "../vendor/preact.js";
import { curl, get } from "../api.js";
import { between, Copy, count, Empty, Json, Mark, Notice, Status, stringify, Time, toneOf, useLoad } from "../parts.js";
import { followJob } from "../live.js";
import { href } from "../route.js";
import { quoted } from "./overview.js";

const PAGE = 200;

export function Job({ id, allowed }) {
  const loaded = useLoad(async () => {
    // A job that was just submitted is waited for by its own route only.
    const job = await get(`v1/jobs/${id}`);
    const [progress, tasks] = await Promise.all([get(`v1/jobs/${id}/progress`), get(`v1/jobs/${id}/tasks`, { limit: PAGE })]);
    return { job: job.data, progress: progress.data, tasks: tasks.data, next: tasks.next };
  }, [id]);
  const [extra, setExtra] = useState({ tasks: [], next: undefined });
  const [events, setEvents] = useState([]);
  const [open, setOpen] = useState(null);
  const ended = loaded.data && loaded.data.job.ended_at;
  const there = Boolean(loaded.data);
  useEffect(() => {
    if (!there) return undefined;
    let timer = null;
    const stop = followJob(id, (kind, event) => {
      setEvents((list) => [...list, { kind, event }].slice(-500));
      timer = timer || setTimeout(() => { timer = null; loaded.again(); }, 300);
    });
    return () => { clearTimeout(timer); stop(); };
  }, [id, there]);
  if (!loaded.data) return loaded.error ? html`<${Notice} error=${loaded.error} />` : html`<p class="boot">Loading…</p>`;
  const { job, progress } = loaded.data;
  const tasks = [...loaded.data.tasks, ...extra.tasks];
  const next = extra.next === undefined ? loaded.data.next : extra.next;
  const more = async () => {
    const page = await get(`v1/jobs/${id}/tasks`, { cursor: `${next},${PAGE}` });
    setExtra({ tasks: [...extra.tasks, ...page.data], next: page.next });
  };
  const failed = tasks.find((task) => task.status === "FAILED" || task.status === "RESCUED");
  const sequential = job.strategy === "SEQUENTIALLY";
  return html`<div class="head"><div><h1>${job.name || job.type} <${Status} status=${job.status} /></h1><p class="soft mono">${job.id} <${Copy} text=${() => job.id} /></p></div>
      <div class="row">
        ${allowed("submit") && html`<a class="button" href=${href("/submit", { from: job.id })}>Submit again, edited</a>`}
        <${Copy} label="Copy as curl" text=${() => curl("GET", `v1/jobs/${id}`)} /><${Copy} label="CLI" text=${() => `jabba get ${id}`} />
        <${Copy} label="Python" text=${() => `client.get_job("${id}")`} />
      </div></div>
    <${Notice} error=${loaded.error} />
    ${job.reason && html`<${Notice} kind="warn">This job was closed: ${job.reason}.</${Notice}>`}
    ${failed && html`<${Notice}><strong>Task ${failed.priority || tasks.indexOf(failed) + 1}${failed.name ? ` “${failed.name}”` : ""} ${failed.status === "RESCUED" ? "raised" : "failed"}:</strong> ${reason(failed.result)}</${Notice}>`}
    <div class="two"><section class="panel"><header>Job</header><div class="body"><dl class="facts">
        <dt>Type</dt><dd><a href=${href("/jobs", { q: `type:${quoted(job.type)}` })}>${job.type}</a></dd>
        <dt>Strategy</dt><dd>${sequential ? "sequential" : "concurrent"}</dd>
        <dt>Submitted</dt><dd><${Time} at=${job.inserted_at} /></dd><dt>Ended</dt><dd><${Time} at=${job.ended_at} empty="not yet" /></dd>
        <dt>Took</dt><dd>${between(job.inserted_at, job.ended_at)}</dd>
        <dt>Progress</dt><dd>${count(progress.ended)} of ${count(progress.total)} tasks${progress.unsuccessful ? `, ${count(progress.unsuccessful)} unsuccessful` : ""}<${Bar} progress=${progress} /></dd>
      </dl></div></section>
      <section class="panel"><header>Meta <${Copy} text=${() => stringify(job.meta)} /></header><div class="body"><${Json} value=${job.meta} /></div></section></div>
    <h2>Tasks</h2>
    ${!sequential && tasks.length > 12 ? html`<${Heat} tasks=${tasks} onOpen=${setOpen} />` : ""}
    <div class="panel"><ol class="steps body">${(open !== null && !sequential && tasks.length > 12 ? tasks.filter((t) => t.id === open) : tasks).map((task, i) => html`<${Step} key=${task.id} task=${task} number=${task.priority || tasks.indexOf(task) + 1} shown=${task === failed || task.id === open} />`)}</ol></div>
    ${next && html`<p class="right"><button onClick=${more}>Show ${PAGE} more tasks</button></p>`}
    <h2>Events</h2>
    ${events.length ? html`<div class="panel scroll"><table class="feed"><tbody>${events.map(({ kind, event }) => html`<tr><td class="one">${kind}</td><td class="one">${event.index === undefined || event.index === null ? "" : `task ${event.index + 1}`}</td><td class="one">${event.attempt ? `attempt ${event.attempt}` : ""}</td><td class="one soft">run ${event.run} · epoch ${event.epoch} · seq ${event.seq}</td></tr>`)}</tbody></table></div>` : html`<div class="panel"><${Empty}>${ended ? "The events of this job are no longer in the log." : "No event yet."}</${Empty}></div>`}`;
}

export function reason(result) {
  if (result === null || result === undefined) return "no result";
  if (typeof result === "object" && typeof result.error === "string") return result.error;
  const text = stringify(result, 0).replaceAll("\n", " ");
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function Bar({ progress }) {
  const share = (n) => (el) => { if (el) el.style.width = `${progress.total ? (100 * n) / progress.total : 0}%`; };
  return html`<div class="bar" role="img" aria-label=${`${progress.ended} of ${progress.total} ended`}><i class="good" ref=${share(progress.ended - progress.unsuccessful)}></i><i class="bad" ref=${share(progress.unsuccessful)}></i></div>`;
}

function Heat({ tasks, onOpen }) {
  return html`<div class="panel"><div class="grid">${tasks.map((task, i) => html`<button key=${task.id} class=${`cell ${toneOf(task.status)}`} title=${`${i + 1} ${task.name || task.callback.function}: ${task.status}`} aria-label=${`Task ${i + 1}, ${task.status}`} onClick=${() => onOpen(task.id)}></button>`)}</div></div>`;
}

function Step({ task, number, shown }) {
  const call = `${task.callback.service} · ${task.callback.module}.${task.callback.function}`;
  const traceback = task.result && typeof task.result === "object" && task.result.traceback;
  return html`<li class="step"><div class="rail"><${Mark} status=${task.status} /></div><div class="what">
    <details open=${shown}><summary class="row"><span class="soft num">${number}</span><strong>${task.name || task.callback.function}</strong><${Status} status=${task.status} />
      ${task.attempt > 1 && html`<span class="soft small">attempt ${task.attempt}</span>`}<span class="soft small mono grow one">${call}</span><span class="soft small"><${Time} at=${task.ended_at} empty="" /></span></summary>
      <div class="sides"><div><div class="row soft small">Arguments <${Copy} text=${() => stringify(task.callback.args)} /></div><${Json} value=${task.callback.args} /></div>
        <div><div class="row soft small">Result <${Copy} text=${() => stringify(task.result)} /></div><${Json} value=${task.result} /></div>
        ${Object.keys(task.meta || {}).length > 0 && html`<div><div class="soft small">Meta</div><${Json} value=${task.meta} /></div>`}</div>
      ${traceback && html`<pre class="json">${Array.isArray(traceback) ? traceback.join("\n") : traceback}</pre>`}
      <p class="small"><a href=${href("/submit", { task: task.id })}>Submit this task alone, edited</a></p>
    </details></div></li>`;
}
