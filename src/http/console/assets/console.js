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
      // What the script has added is its own, and what the reader has opened is his.
      if (!fresh.hasAttribute(name) && !["tabindex", "role", "aria-label", "title", "disabled", "open"].includes(name)) old.removeAttribute(name);
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

  const number = (value) => value == null ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 0 });
  const percent = (share) => share == null ? "–" : `${number(share * 100)} %`;

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

  const day = (seconds) => new Date(seconds * 1000)
    .toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: utc ? "UTC" : undefined });

  // Where no pointer is, the newest values are what one wants to read.
  const newest = (times) => ({ setLegend: [(plot) => {
    if (plot.legend.idx == null) plot.setLegend({ idx: times.length - 1 }, false);
  }] });

  // `how` is what one kind of chart has and the other has not.
  const chart = (figure, times, lines, how) => {
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const plot = new uPlot({
      width: width(figure),
      height: TALL,
      scales: how.scales,
      series: [{ value: (_, value) => value == null ? "–" : how.when(value, 0) }].concat(lines.map(([label, , stroke]) => ({
        label, stroke: colour(stroke), width: 2, points: { show: false }, value: (_, value) => how.spell(value),
      }))),
      axes: [{ ...axis, space: 70, values: (_, values, __, ___, step) => values.map((value) => how.when(value, step)) }, { ...axis, size: 60, values: (_, values) => values.map(how.spell) }],
      legend: { live: true },
      hooks: { ...newest(times), ...how.hooks },
    }, [times, ...lines.map(([, values]) => values)], figure);
    plot.setLegend({ idx: times.length - 1 }, false);
    const canvas = one("canvas", figure);
    const last = lines.map(([label, values]) => `${label} ${how.spell(values.at(-1))}`).join(", ");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${one("figcaption", figure).textContent}; last: ${last}`);
    plots.push([figure, plot]);
  };

  const words = (into, text) => {
    const paragraph = document.createElement("p");
    paragraph.className = "faint";
    paragraph.textContent = text;
    into.append(paragraph);
  };

  const drains = (into) => {
    if (points.at.length < 2) {
      words(into, "Not enough is known yet: a point is taken every ten seconds, since the start of the daemon.");
      return;
    }
    const how = {
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      when: (value, step) => clock(value, step < 60),
      spell: number,
    };
    const wanted = points.sources.flatMap((line) => {
      const which = points.sources.length > 1 ? ` of ${line.source}` : "";
      return [
        [frame(into, `Messages a second${which}`), [
          ["replayed", line.replayed, "--series-1"], ["parked", line.parked, "--series-2"], ["came back", line.bounced, "--series-3"],
        ]],
        [frame(into, `Messages waiting${which}`), [["waiting", line.depth, "--series-4"]]],
      ];
    });
    wanted.forEach(([figure, lines]) => chart(figure, points.at, lines, how));
  };

  // Below it more was spent than there was.
  const nought = (plot) => {
    const { ctx, bbox } = plot;
    const y = Math.round(plot.valToPos(0, "y", true));
    ctx.save();
    ctx.strokeStyle = colour("--series-2");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  };

  const budgets = (into) => {
    const [drawn, bare] = [points.slos.filter((slo) => slo.at.length > 1), points.slos.filter((slo) => slo.at.length < 2)];
    const wanted = drawn.map((slo) => {
      const note = slo.note ? ` (${slo.note})` : "";
      return [frame(into, `${slo.slo_name}, the last ${slo.seconds / 3600} h${note}: ${slo.description}`), slo];
    });
    wanted.forEach(([figure, slo]) => {
      const [least, last] = [Math.min(0, ...slo.left), slo.at.at(-1)];
      chart(figure, slo.at, [["budget left", slo.left, slo.note ? "--series-4" : "--series-1"]], {
        scales: { x: { range: [last - slo.seconds, last] }, y: { range: [least * 1.05, 1.05] } },
        when: (value) => slo.seconds > 2 * 86400 ? day(value) : clock(value, false),
        spell: percent,
        hooks: { draw: [nought] },
      });
    });
    if (bare.length) words(into, `Of these not enough is known yet to draw: ${bare.map((slo) => slo.slo_name).join(", ")}.`);
  };

  const draw = () => {
    const into = one("[data-history]");
    if (!into || !points || typeof uPlot === "undefined") return;
    plots.forEach(([, plot]) => plot.destroy());
    plots = [];
    into.replaceChildren();
    if (into.id === "budgets") budgets(into); else drains(into);
  };

  let fetching = false, before = "";
  const refresh = async () => {
    const into = one("[data-history]");
    if (!into || document.hidden || fetching) return;
    fetching = true;
    try {
      const span = into.id === "budgets" ? "" : `?seconds=${seconds}`;
      const answer = await fetch(`${into.dataset.history}${span}`, { headers: { "X-Part": "1" } });
      // A pointer that is on a chart is reading it.
      if (answer.ok && !one("figure:hover", into)) {
        const text = await answer.text();
        points = JSON.parse(text);
        if (text !== before) draw();
        before = text;
      }
    } catch { /* the banner says it */ }
    fetching = false;
  };

  const charts = () => {
    if (!one("[data-history]")) return;
    const group = one(".spans");
    if (group) {
      group.hidden = false;
      all("button", group).forEach((button) => button.addEventListener("click", async () => {
        seconds = Number(button.dataset.span);
        all("button", group).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        await refresh();
        draw();
      }));
    }
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
    charts();
    scrolls(document);
    addEventListener("resize", () => scrolls(document));
    follow();
  };
  start();
})();
