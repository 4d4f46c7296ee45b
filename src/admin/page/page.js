// Keeps the page as the process is: when an event comes, the page is fetched again, and what has changed
// in it takes its place. Without this file the page loads itself again every few seconds.
"use strict";
(() => {
  const live = document.getElementById("live");
  const sorted = new Map();
  let last = Date.now();
  let wanted = false;
  let running = false;

  // A number is what a cell says it is worth, or the whole text of one in a column of numbers: addresses,
  // ids and times may begin like numbers, or look like one.
  const value = (cell) => {
    const worth = cell?.dataset.value;
    const text = worth ?? cell?.textContent.trim() ?? "";
    const number = worth !== undefined || cell?.classList.contains("n") ? Number(text) : Number.NaN;
    return text === "" || Number.isNaN(number) ? text : number;
  };

  // What is not known comes first, then numbers, then texts.
  const kind = (it) => (it === "" ? 0 : typeof it === "number" ? 1 : 2);
  const compare = (x, y) => {
    if (kind(x) !== kind(y)) return kind(x) - kind(y);
    return typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true });
  };

  // Rows of notes stay behind the row that they are about.
  const groups = (body) => {
    const found = [];
    for (const row of body.rows) {
      if (row.classList.contains("note") && found.length > 0) found[found.length - 1].push(row);
      else found.push([row]);
    }
    return found;
  };

  const sort = (table) => {
    const chosen = sorted.get(table);
    if (!chosen) return;
    const { column, falling } = chosen;
    const body = table.tBodies[0];
    const all = groups(body);
    all.sort(([a], [b]) => {
      const order = compare(value(a.cells[column]), value(b.cells[column]));
      return falling ? -order : order;
    });
    body.append(...all.flat());
  };

  for (const table of document.querySelectorAll("table[data-sort]")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      // What can be ordered has no order.
      if (head.classList.contains("acts")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = sorted.get(table);
        const falling = before?.column === column && !before.falling;
        for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        sorted.set(table, { column, falling });
        sort(table);
      });
    });
  }

  // Where the focus is, in words that find it again.
  const focused = () => document.activeElement?.getAttribute("href");

  const refresh = async () => {
    if (running) { wanted = true; return; }
    running = true;
    wanted = false;
    const began = Date.now();
    try {
      const answer = await fetch("/", { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const focus = focused();
        for (const part of document.querySelectorAll("[data-live]")) {
          const now = page.getElementById(part.id);
          if (now && part.innerHTML !== now.innerHTML) part.replaceChildren(...now.childNodes);
        }
        for (const table of sorted.keys()) sort(table);
        if (focus && focused() !== focus) document.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus();
        last = Date.now();
      }
    } catch { /* The stream tells that contact is lost. */ }
    // A page that takes long is asked for less often.
    setTimeout(() => { running = false; if (wanted) refresh(); }, Math.max(1000, 4 * (Date.now() - began)));
  };

  const show = () => {
    const age = Math.round((Date.now() - last) / 1000);
    // The stream only makes it quicker: what was fetched a moment ago is live without it, too.
    const on = age < 15;
    live.className = on ? "on" : "off";
    live.textContent = on ? "live" : `stopped ${age} s ago`;
  };

  let stream;
  const follow = () => {
    stream = new EventSource("/api/v1/events");
    stream.addEventListener("open", refresh);
    for (const name of ["service", "daemon", "about", "happening", "gap"]) stream.addEventListener(name, refresh);
    // Any other answer ends it for good, such as that of a process that starts.
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    });
  };
  follow();
  // Ages and deadlines go on where nothing happens.
  setInterval(refresh, 5000);
  setInterval(show, 1000);
  addEventListener("pagehide", () => stream.close());
})();
