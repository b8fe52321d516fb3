import { html, useEffect, useState } from "../vendor/preact.js";
import { curl, get, parse, post } from "../api.js";
import { Copy, Notice, stringify } from "../parts.js";
import { go, href } from "../route.js";

const EXAMPLE = { type: "order", meta: { order: 17 }, strategy: "sequential", tasks: [{ name: "reserve", callback: ["local", "demo.shop", "reserve", [17]] }, { name: "charge", callback: ["local", "demo.shop", "charge", [17, 999]] }, { name: "ship", callback: ["local", "demo.shop", "ship", [17]] }] };

export function Submit({ query }) {
  const [text, setText] = useState(stringify(EXAMPLE));
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const template = query.from ? "job" : query.task ? "task" : null;
  useEffect(() => { if (template) prefill(query).then(setText, setError); }, [query.from, query.task]);
  let wrong = null;
  try { parse(text); } catch (failure) { wrong = failure.message; }
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const { data } = await post("v1/jobs", text);
      go(`/jobs/${data.id}`);
    } catch (failure) { setError(failure); }
    setBusy(false);
  };
  const onKey = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !wrong) submit(event); };
  return html`<div class="head"><h1>Submit a job</h1><${Copy} label="Copy as curl" text=${() => curl("POST", "v1/jobs", JSON.parse(text))} /></div>
    ${template && html`<${Notice} kind="good">The ${template} was copied. Edit what you need; a new job is submitted, and the original stays as it is.</${Notice}>`}
    <${Notice} error=${error} />
    <form onSubmit=${submit} onKeyDown=${onKey}><div class="field"><label for="job">Job as JSON</label>
      <textarea id="job" spellcheck="false" rows="22" aria-invalid=${wrong ? "true" : "false"} aria-describedby="wrong" value=${text} onInput=${(e) => setText(e.target.value)}></textarea>
      <span id="wrong" class="small soft" role="status">${wrong || "A task names a callback: [service, module, function, arguments]."}</span></div>
      <div class="row"><button class="main" type="submit" disabled=${busy || wrong}>${busy ? "Submitting…" : "Submit"}</button><span class="soft small"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span></div></form>`;
}

async function prefill(query) {
  if (query.task) {
    const { data } = await get("v1/tasks", { id: query.task });
    if (!data.length) throw new Error("There is no such task.");
    return stringify({ type: "retry", tasks: [form(data[0])] });
  }
  const [{ data: job }, { data: tasks }] = await Promise.all([get(`v1/jobs/${query.from}`), get(`v1/jobs/${query.from}/tasks`, { limit: 1000 })]);
  return stringify({ type: job.type, ...(job.name ? { name: job.name } : {}), strategy: job.strategy === "SEQUENTIALLY" ? "sequential" : "concurrent", meta: job.meta, tasks: tasks.map(form) });
}

function form(task) {
  const { service, module, function: name, args } = task.callback;
  return { ...(task.name ? { name: task.name } : {}), callback: [service, module, name, args], ...(Object.keys(task.meta || {}).length ? { meta: task.meta } : {}) };
}
