// The frame: sign-in, navigation, keys.

import { html, render, signal, useEffect, useState } from "./vendor/preact.js";
import { del, get, onSignedOut, post } from "./api.js";
import { Dialog, Notice } from "./parts.js";
import { go, href, route } from "./route.js";
import { Overview } from "./pages/overview.js";
import { Jobs } from "./pages/jobs.js";
import { Job } from "./pages/job.js";
import { Submit } from "./pages/submit.js";
import { Live } from "./pages/live.js";
import { System } from "./pages/system.js";

const session = signal(undefined); // undefined: not known yet; null: signed out

const PAGES = [
  { path: "/", name: "Overview", page: Overview, key: "o", needs: "search" },
  { path: "/jobs", name: "Jobs", page: Jobs, key: "j", needs: "search" },
  { path: "/submit", name: "Submit", page: Submit, key: "s", needs: "submit" },
  { path: "/live", name: "Live", page: Live, key: "l", needs: "search" },
  { path: "/system", name: "System", page: System, key: "y", needs: "search" },
];

const allowed = (permission) => session.value && session.value.permissions.includes(permission);

async function load() {
  const code = new URLSearchParams(location.hash.replace(/^#/, "")).get("code");
  if (code) {
    history.replaceState(null, "", location.pathname);
    try {
      session.value = (await post("v1/session", { code })).data;
      return;
    } catch {
      // A used link: the session that it opened may still be there.
    }
  }
  try {
    session.value = (await get("v1/session")).data;
  } catch (error) {
    session.value = error.status === 401 ? null : { error };
  }
}

function SignIn() {
  const [key, setKey] = useState("");
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      session.value = (await post("v1/session", { key: key.trim() })).data;
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<main class="signin" id="main">
    <div class="brand"><img src="assets/icon.svg" alt="" />Jabba</div>
    <form onSubmit=${submit}>
      <p class="soft">Sign in with an API key. <code>jabba keys create</code> creates one; that of <code>jabba up</code> is in its data directory.</p>
      <${Notice} error=${error} />
      <div class="field"><label for="key">API key</label>
        <input id="key" type="password" autocomplete="current-password" required value=${key} onInput=${(e) => setKey(e.target.value)} autofocus /></div>
      <button class="main" type="submit">Sign in</button>
    </form>
  </main>`;
}

function Top() {
  const here = route.value.path;
  const current = (path) => (path === "/" ? here === "/" : here.startsWith(path)) || undefined;
  const signOut = async () => { await del("v1/session"); session.value = null; };
  return html`<header class="top">
    <a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.getElementById("main").focus(); }}>Skip to content</a>
    <a class="brand" href=${href("/")}><img src="assets/icon.svg" alt="" />Jabba</a>
    <nav aria-label="Pages">${PAGES.filter((p) => allowed(p.needs)).map((p) => html`<a href=${href(p.path)} aria-current=${current(p.path) ? "page" : undefined}>${p.name}</a>`)}<a href="docs" target="_blank" rel="noopener">API</a></nav>
    <span class="soft small">${session.value.role}${session.value.types.length ? ` · ${session.value.types.join(", ")}` : ""}</span>
    ${session.value.key && html`<button class="plain" onClick=${signOut}>Sign out</button>`}
  </header>`;
}

const HELP = [["/", "search jobs"], ...PAGES.map((p) => [`g ${p.key}`, p.name]), ["j / k", "next / previous row"], ["Enter", "open the row"], ["?", "this help"], ["Esc", "close"]];

function useKeys(setHelp) {
  useEffect(() => {
    let waiting = false;
    const onKey = (event) => {
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (waiting) {
        waiting = false;
        const page = PAGES.find((p) => p.key === event.key && allowed(p.needs));
        if (page) { event.preventDefault(); go(page.path); }
        return;
      }
      if (event.key === "g") { waiting = true; setTimeout(() => { waiting = false; }, 1200); }
      else if (event.key === "?") setHelp(true);
      else if (event.key === "/") {
        event.preventDefault();
        const box = document.querySelector("input[type=search]");
        if (box) box.focus();
        else go("/jobs");
      } else if (event.key === "j" || event.key === "k") {
        const rows = [...document.querySelectorAll("[data-row]")];
        const at = rows.indexOf(document.activeElement);
        const next = rows[event.key === "j" ? Math.min(at + 1, rows.length - 1) : Math.max(at - 1, 0)];
        if (next) next.focus();
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function Body() {
  const { path, query } = route.value;
  const job = path.match(/^\/jobs\/([^/]+)$/);
  useEffect(() => { document.title = job ? `Job ${job[1].slice(0, 8)} · Jabba` : `${(PAGES.find((p) => p.path === path) || { name: "Jabba" }).name} · Jabba`; }, [path]);
  if (job) return html`<${Job} key=${job[1]} id=${job[1]} allowed=${allowed} />`;
  const found = PAGES.find((p) => p.path === path);
  if (!found) return html`<${Notice} kind="warn">There is no page <code>${path}</code>. <a href=${href("/")}>Overview</a></${Notice}>`;
  if (!allowed(found.needs)) return html`<${Notice} kind="warn">Your key (${session.value.role}) does not have the permission <code>${found.needs}</code>.</${Notice}>`;
  return html`<${found.page} query=${query} allowed=${allowed} />`;
}

function App() {
  const [help, setHelp] = useState(false);
  useKeys(setHelp);
  useEffect(() => { onSignedOut(() => { session.value = null; }); load(); }, []);
  if (session.value === undefined) return html`<p class="boot">Loading…</p>`;
  if (session.value === null) return html`<${SignIn} />`;
  if (session.value.error) return html`<main class="signin" id="main"><${Notice} error=${session.value.error} /><button onClick=${load}>Try again</button></main>`;
  return html`<${Top} /><main id="main" tabindex="-1"><${Body} /></main>
    ${help && html`<${Dialog} title="Keyboard" onClose=${() => setHelp(false)}><dl class="facts">${HELP.map(([keys, what]) => html`<dt><kbd>${keys}</kbd></dt><dd>${what}</dd>`)}</dl></${Dialog}>`}`;
}

render(html`<${App} />`, document.getElementById("app"));
