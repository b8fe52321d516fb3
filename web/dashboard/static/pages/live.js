import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { KINDS, listen } from "../live.js";
import { count, Empty } from "../parts.js";
import { href } from "../route.js";

const KEPT = 500;

export function Live() {
  const [rows, setRows] = useState([]);
  const [total, setTotal] = useState(0);
  const [paused, setPaused] = useState(false);
  const [text, setText] = useState("");
  const waiting = useRef([]);
  const seen = useRef(0);
  const hold = useRef(false);
  hold.current = paused;
  useEffect(() => {
    const stop = listen((event) => { seen.current += 1; if (!hold.current) waiting.current.push({ ...event, at: new Date() }); });
    // Drawn four times a second at most, however many events come.
    const timer = setInterval(() => {
      if (!waiting.current.length) return;
      const fresh = waiting.current.splice(0).reverse();
      setTotal(seen.current);
      setRows((old) => [...fresh, ...old].slice(0, KEPT));
    }, 250);
    return () => { stop(); clearInterval(timer); };
  }, []);
  const shown = rows.filter((row) => !text || `${row.event} ${row.type} ${row.job}`.toLowerCase().includes(text.toLowerCase())).slice(0, 100);
  return html`<div class="head"><h1>Live</h1><div class="row"><input type="search" placeholder="type, event or id" aria-label="Filter events" value=${text} onInput=${(e) => setText(e.target.value)} />
      <button aria-pressed=${paused ? "true" : "false"} onClick=${() => setPaused(!paused)}>${paused ? "Resume" : "Pause"}</button></div></div>
    <p class="soft small" role="status">${count(total)} events since this page was opened${paused ? ", paused" : ""}</p>
    ${shown.length ? html`<div class="panel scroll"><table class="feed"><thead><tr><th>Time</th><th>Event</th><th>Type</th><th>Task</th><th>Job</th></tr></thead><tbody>${shown.map((row) => html`<tr key=${`${row.job}${row.index}${row.epoch}.${row.seq}`}>
      <td class="one soft">${row.at.toLocaleTimeString()}</td><td class="one">${row.event}</td><td class="one">${row.type || ""}</td><td class="num">${row.index === null || row.index === undefined ? "" : row.index + 1}</td><td class="one"><a data-row href=${href(`/jobs/${row.job}`)}>${row.job}</a></td></tr>`)}</tbody></table></div>` : html`<div class="panel"><${Empty}>Waiting for events.</${Empty}></div>`}`;
}
