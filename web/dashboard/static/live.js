// One event stream for all tabs of a browser: the tab that holds the lock listens and tells the others.

const CHANNEL = "jabba-events";
const LOCK = "jabba-event-stream";
export const KINDS = ["task_started", "task_attempted", "task_succeeded", "task_failed", "task_rescued", "tasks_aborted", "job_closed"];

const listeners = new Set();
let channel = null;

/** Call `listener(event)` for every event of every job while the page is visible; returns a function that stops it. */
export function listen(listener) {
  start();
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(event) {
  if (!document.hidden) listeners.forEach((listener) => listener(event));
}

function start() {
  if (channel) return;
  channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = (message) => tell(message.data);
  const lead = () => new Promise(() => follow());
  if (navigator.locks) navigator.locks.request(LOCK, lead);
  else follow();
}

function follow() {
  let source = null;
  const open = () => {
    if (source) return;
    source = new EventSource("v1/events");
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        const event = JSON.parse(message.data);
        channel.postMessage(event);
        tell(event);
      });
    }
  };
  open();
}

/** Follow one job until it has ended; returns a function that stops it. */
export function followJob(id, listener) {
  const source = new EventSource(`v1/events?job=${encodeURIComponent(id)}`);
  for (const kind of [...KINDS, "job_ended"]) {
    source.addEventListener(kind, (message) => {
      listener(kind, JSON.parse(message.data));
      if (kind === "job_ended") source.close();
    });
  }
  return () => source.close();
}
