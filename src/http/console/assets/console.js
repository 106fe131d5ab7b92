// What pages do besides being read: times in the reader's zone, numbers that stay true, charts,
// ticking. Every page works without it.
"use strict";

(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what, within = document) => within.querySelector(what);

  // Times.

  const at = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });

  const two = (number) => String(number).padStart(2, "0");

  // As the daemon spells it.
  const span = (seconds) => {
    const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
    const minutes = Math.floor(seconds / 60) % 60, rest = Math.floor(seconds) % 60;
    if (days) return `${days}d${two(hours)}h`;
    if (hours) return `${hours}h${two(minutes)}m`;
    return minutes ? `${minutes}m${two(rest)}s` : `${rest}s`;
  };

  // The daemon's clock is what counts, and the reader's may be wrong.
  const now = Number(one("main")?.dataset.now);
  const ahead = now ? now - Date.now() : 0;

  // All of them as they were written, for whom no pointer hovers.
  let utc = false;

  const tell = (element) => {
    const when = new Date(element.dateTime);
    if (Number.isNaN(when.getTime())) return;
    const passed = Math.max(0, (Date.now() + ahead - when.getTime()) / 1000);
    const spans = { ago: `${span(passed)} ago`, age: span(passed) };
    const text = utc ? element.dateTime : spans[element.dataset.as] ?? at.format(when);
    if (element.textContent !== text) element.textContent = text;
    const exact = element.dataset.as === "at" ? element.dateTime : `${at.format(when)} – ${element.dateTime}`;
    if (element.title !== exact) element.title = exact;
  };

  const times = (within) => all("time[data-as]", within).forEach(tell);
  setInterval(() => { if (!document.hidden) all('time[data-as="ago"], time[data-as="age"]').forEach(tell); }, 1000);

  const zone = () => {
    const button = one("[data-utc]");
    if (!button) return;
    button.parentElement.hidden = false;
    button.addEventListener("click", () => {
      utc = !utc;
      button.setAttribute("aria-pressed", String(utc));
      times(document);
      draw();
    });
  };

  // Colours.

  const themes = () => {
    const group = one(".themes");
    if (!group) return;
    group.hidden = false;
    all("[data-set-theme]", group).forEach((button) => button.addEventListener("click", () => {
      const theme = button.dataset.setTheme;
      document.documentElement.dataset.theme = theme;
      document.cookie = `mutt_theme=${theme}; Path=/console; Max-Age=31536000; SameSite=Lax`;
      all("[data-set-theme]", group).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      draw();
    }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  };

  // Parts that change.

  // Patched in place, so that focus, scrolling, a selection and a click stay where they are.
  const patch = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeName === "TIME" && old.getAttribute("datetime") === fresh.getAttribute("datetime")) return;
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      // What the script has added is its own.
      if (!fresh.hasAttribute(name) && !["tabindex", "role", "aria-label", "title", "disabled"].includes(name)) old.removeAttribute(name);
    }
    children(old, fresh);
  };

  const children = (old, fresh) => {
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((node, index) => { if (before[index]) patch(before[index], node); else old.append(node); });
    before.slice(after.length).forEach((node) => node.remove());
  };

  const put = (id, html) => {
    const element = document.getElementById(id);
    if (!element) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    children(element, fresh.content);
    times(element);
    scrolls(element);
  };

  let source = null, retry = null, last = new Date();

  const lost = (is) => {
    const banner = one("#lost");
    if (!banner || banner.hidden === !is) return;
    if (is) one("#lost-at").textContent = at.format(last);
    banner.hidden = !is;
    // What is asked for now would not arrive.
    all("main form[method=post] button, main form[method=get] button[name=action]").forEach((button) => { button.disabled = is; });
    if (!is) one("#selected")?.dispatchEvent(new Event("change"));
  };

  const follow = () => {
    const address = one("main")?.dataset.live;
    if (!address || source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("parts", (event) => {
      last = new Date();
      lost(false);
      for (const [id, html] of Object.entries(JSON.parse(event.data))) put(id, html);
      if (address.includes("/runs/") && !one("#run .warn")) stop();
    });
    source.addEventListener("error", () => { stop(); again(); });
  };

  // A stream that is refused, or a session that has ended, is not a daemon that is away.
  const again = async () => {
    retry = null;
    if (document.hidden) return;
    try {
      const answer = await fetch("/console/history?seconds=60", { headers: { "X-Part": "1" } });
      if (answer.status === 401) { location.reload(); return; }
      lost(false);
      retry = setTimeout(follow, 5000);
    } catch {
      lost(true);
      retry = setTimeout(again, 2000);
    }
  };

  const stop = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
    retry = null;
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop(); else { follow(); times(document); refresh(); }
  });
  addEventListener("pagehide", stop);
  // A page out of the browser's memory is of then; the daemon knows of now.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Parts that are loaded when they are opened.

  const load = async (into, address) => {
    into.textContent = "Counting…";
    try {
      const answer = await fetch(address, { headers: { "X-Part": "1" } });
      if (answer.status === 401) { location.reload(); return; }
      const fresh = document.createElement("template");
      fresh.innerHTML = await answer.text();
      into.replaceChildren(fresh.content);
      times(into);
    } catch { into.textContent = "The daemon did not answer. Close and open this to try again."; }
    one("a[data-more]", into)?.addEventListener("click", (event) => {
      event.preventDefault();
      load(into, event.currentTarget.getAttribute("href"));
    });
  };

  const folds = () => all("details[data-load]").forEach((fold) => fold.addEventListener("toggle", () => {
    if (fold.open) load(one(".loads", fold), fold.dataset.load);
  }));

  // Ticking.

  const ticking = () => {
    const form = one("#selected"), every = one("#tick-all"), told = one("#ticked");
    if (!form || !every) return;
    every.hidden = false;
    const boxes = all('input[name="m"]', form);
    let before = null;
    const count = () => {
      const ticked = boxes.filter((box) => box.checked).length;
      every.checked = ticked === boxes.length;
      every.indeterminate = ticked > 0 && ticked < boxes.length;
      told.textContent = ticked === 1 ? "1 ticked" : `${ticked} ticked`;
      all(".acts.sticky button", form).forEach((button) => { button.disabled = ticked === 0; });
    };
    every.addEventListener("change", () => { boxes.forEach((box) => { box.checked = every.checked; }); count(); });
    boxes.forEach((box, index) => box.addEventListener("click", (event) => {
      if (event.shiftKey && before !== null) {
        const [from, to] = [before, index].sort((a, b) => a - b);
        boxes.slice(from, to + 1).forEach((other) => { other.checked = box.checked; });
      }
      before = index;
      count();
    }));
    count();
    form.addEventListener("change", count);
    // A page that one comes back to has its ticks again, and nobody has clicked.
    addEventListener("pageshow", count);
  };

  // A second click sends nothing again.
  const once = () => {
    const sent = new WeakSet();
    all("form[method=post]").forEach((form) => form.addEventListener("submit", (event) => {
      if (sent.has(form)) { event.preventDefault(); return; }
      sent.add(form);
      setTimeout(() => sent.delete(form), 10000);
    }));
    addEventListener("pageshow", () => all("form[method=post]").forEach((form) => sent.delete(form)));
  };

  // Empty fields make no address longer.
  const forms = () => all("form[method=get]").forEach((form) => form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  }));

  // On a phone the messages come first, unless they are filtered.
  const narrow = () => {
    const fold = one("#filter-fold");
    if (fold && matchMedia("(max-width: 46rem)").matches && !one('a.button[href]', fold)) fold.open = false;
  };

  // What scrolls can be scrolled by keyboard.
  const scrolls = (within) => all(".scroll", within).forEach((box) => {
    const wide = box.scrollWidth > box.clientWidth;
    const name = box.closest("section")?.querySelector("h1, h2")?.textContent ?? document.title;
    if (wide) { box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", `${name}: a table that scrolls sideways`); }
    else { box.removeAttribute("tabindex"); box.removeAttribute("role"); box.removeAttribute("aria-label"); }
  });

  // Charts.

  const TALL = 190;
  let points = null, seconds = 3600, plots = [];

  // As the scheme makes it, which a name alone does not say.
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const made = getComputedStyle(probe).color;
    probe.remove();
    return made;
  };

  const number = (value) => value == null ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 2 : 0 });

  // Where a chart will be: how wide that is, is known when all of them are there.
  const frame = (into, title) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    figure.append(caption);
    into.append(figure);
    return figure;
  };

  const width = (figure) => Math.max(200, figure.clientWidth - 24);
  const clock = (seconds, fine) => {
    const when = new Date(seconds * 1000);
    const [hours, minutes, rest] = utc
      ? [when.getUTCHours(), when.getUTCMinutes(), when.getUTCSeconds()]
      : [when.getHours(), when.getMinutes(), when.getSeconds()];
    const text = `${two(hours)}:${two(minutes)}`;
    return fine ? `${text}:${two(rest)}` : text;
  };

  const chart = (figure, times, lines) => {
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const plot = new uPlot({
      width: width(figure),
      height: TALL,
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      series: [{ value: (_, value) => value == null ? "–" : clock(value, true) }].concat(lines.map(([label, , stroke]) => ({
        label, stroke: colour(stroke), width: 2, points: { show: false }, value: (_, value) => number(value),
      }))),
      axes: [{ ...axis, space: 70, values: (_, values, __, ___, step) => values.map((value) => clock(value, step < 60)) }, { ...axis, size: 60, values: (_, values) => values.map(number) }],
      legend: { live: true },
      // Where no pointer is, the newest values are what one wants to read.
      hooks: { setLegend: [(plot) => {
        if (plot.legend.idx == null) plot.setLegend({ idx: times.length - 1 }, false);
      }] },
    }, [times, ...lines.map(([, values]) => values)], figure);
    plot.setLegend({ idx: times.length - 1 }, false);
    const canvas = one("canvas", figure);
    const newest = lines.map(([label, values]) => `${label} ${number(values.at(-1))}`).join(", ");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${one("figcaption", figure).textContent}; last: ${newest}`);
    plots.push([figure, plot]);
  };

  const draw = () => {
    const into = one("#charts");
    if (!into || !points || typeof uPlot === "undefined") return;
    plots.forEach(([, plot]) => plot.destroy());
    plots = [];
    into.replaceChildren();
    if (points.at.length < 2) {
      const text = document.createElement("p");
      text.className = "faint";
      text.textContent = "Not enough is known yet: a point is taken every ten seconds, since the start of the daemon.";
      into.append(text);
      return;
    }
    const wanted = points.sources.flatMap((line) => {
      const which = points.sources.length > 1 ? ` of ${line.source}` : "";
      return [
        [frame(into, `Messages a second${which}`), [
          ["replayed", line.replayed, "--series-1"], ["parked", line.parked, "--series-2"], ["came back", line.bounced, "--series-3"],
        ]],
        [frame(into, `Messages waiting${which}`), [["waiting", line.depth, "--series-4"]]],
      ];
    });
    wanted.forEach(([figure, lines]) => chart(figure, points.at, lines));
  };

  let fetching = false;
  const refresh = async () => {
    const into = one("#charts");
    if (!into || document.hidden || fetching) return;
    fetching = true;
    try {
      const answer = await fetch(`${into.dataset.history}?seconds=${seconds}`, { headers: { "X-Part": "1" } });
      if (answer.ok) {
        points = await answer.json();
        // A pointer that is on a chart is reading it.
        if (!one("figure:hover", into)) draw();
      }
    } catch { /* the banner says it */ }
    fetching = false;
  };

  const spans = () => {
    const group = one(".spans");
    if (!group) return;
    group.hidden = false;
    all("button", group).forEach((button) => button.addEventListener("click", async () => {
      seconds = Number(button.dataset.span);
      all("button", group).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      await refresh();
      draw();
    }));
    refresh();
    setInterval(refresh, 10000);
    addEventListener("resize", () => plots.forEach(([figure, plot]) => plot.setSize({ width: width(figure), height: TALL })));
  };

  const start = () => {
    times(document);
    zone();
    themes();
    folds();
    ticking();
    narrow();
    once();
    forms();
    spans();
    scrolls(document);
    addEventListener("resize", () => scrolls(document));
    follow();
  };
  start();
})();
