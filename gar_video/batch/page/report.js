"use strict";
// Everything that comes from answers, labels or file names is put in as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [VIDEO, TASK, IDS, LABELS, WALL, START, END, QUESTION, ANSWER, PICTURE, SURE] = Array(11).keys();
  const PER_PAGE = 50;
  const $ = (id) => document.getElementById(id);
  const make = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) {
      if (key in node) node[key] = value; else node.setAttribute(key, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const many = (count, one, more) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
  const clock = (s) => {
    const tenths = Math.round(s * 10), minutes = Math.floor(tenths / 600);
    const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
  };
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const labelsOf = (row) => row[LABELS].map((one) => (one < 0 ? null : data.labels[one]));
  const whoOf = (row) => row[IDS].map((id, n) => `${labelsOf(row)[n] ?? "object"} <${id}>`).join(" and ");
  const questionOf = (row) => data.questions[row[QUESTION]];

  // ---------------------------------------------------------------- what is shown
  const filter = { words: "", camera: "", day: "", label: "", task: "", order: "", from: null, to: null };
  let shown = [], page = 0;
  const hay = new Map();
  const hayOf = (n) => {
    if (!hay.has(n)) {
      const row = data.rows[n];
      hay.set(n, ` ${plain([row[ANSWER], questionOf(row), ...labelsOf(row).filter(Boolean)].join(" ")).replace(/[^\p{L}\p{N}]+/gu, " ")}`);
    }
    return hay.get(n);
  };
  const wordsOf = () => plain(filter.words).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  // A word counts if something begins with it; endings such as -ing and -s do not matter.
  const stem = (word) => (word.length > 4 ? word.replace(/(ing|ed|es|s)$/, "") : word);

  const passes = (n, words, aside) => {
    const row = data.rows[n], day = row[WALL] ? row[WALL].slice(0, 10) : "-";
    if (filter.camera !== "" && data.videos[row[VIDEO]][1] !== Number(filter.camera)) return false;
    if (filter.day && day !== filter.day) return false;
    if (filter.label !== "" && !row[LABELS].includes(Number(filter.label))) return false;
    if (filter.task !== "" && row[TASK] !== Number(filter.task)) return false;
    if (!aside && filter.from !== null && !(row[WALL] && naive(row[WALL]) >= filter.from && naive(row[WALL]) < filter.to)) return false;
    return words.every((word) => hayOf(n).includes(` ${word}`));
  };
  // A camera's own clock, as its rows tell it: what people on the spot call "8 o'clock".
  const naive = (wall) => Date.UTC(+wall.slice(0, 4), +wall.slice(5, 7) - 1, +wall.slice(8, 10), +wall.slice(11, 13), +wall.slice(14, 16), +wall.slice(17, 19));
  const order = data.rows.map((row, n) => [row[WALL] ? Date.parse(row[WALL]) : Infinity, n]);
  order.sort((a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1));
  const byTime = order.map((pair) => pair[1]);

  const update = () => {
    const words = wordsOf().map(stem);
    const around = byTime.filter((n) => passes(n, words, true));
    shown = filter.from === null ? around : around.filter((n) => passes(n, words, false));
    if (filter.order === "new") shown = [...shown].reverse();
    page = 0;
    drawChart(around);
    draw();
  };

  const draw = () => {
    const list = $("rows");
    list.replaceChildren(...shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(drawRow));
    document.querySelector(".none")?.remove();
    if (!shown.length) list.after(make("p", { className: "none", textContent: "No answer fits these filters." }));
    const all = data.rows.length;
    $("count").textContent = shown.length === all ? many(all, "answer", "answers") : `${shown.length.toLocaleString("en")} of ${many(all, "answer", "answers")}`;
    const set = Object.entries(filter).some(([key, value]) => key !== "order" && value !== "" && value !== null);
    $("clear").hidden = !set;
    $("span").hidden = filter.from === null;
    if (filter.from !== null) $("span").textContent = `${stamp(filter.from)} – ${stamp(filter.to, true)} ✕`;
    const last = Math.max(0, Math.ceil(shown.length / PER_PAGE) - 1);
    const step = (to, text) => make("button", {
      type: "button", textContent: text, disabled: to < 0 || to > last,
      onclick: () => { page = to; draw(); $("bar").scrollIntoView({ block: "start" }); },
    });
    $("pages").replaceChildren(...(last ? [step(page - 1, "← Back"), make("span", { textContent: `Page ${page + 1} of ${last + 1}` }), step(page + 1, "Next →")] : []));
  };

  const marked = (text) => {
    const words = wordsOf().map(stem);
    if (!words.length) return [text];
    // Letter by letter, since marks that are left out make a text shorter.
    return text.split(/([^\p{L}\p{N}]+)/u).map((part) => (words.some((word) => plain(part).startsWith(word)) ? make("mark", { textContent: part }) : part));
  };

  const drawRow = (n) => {
    const row = data.rows[n], [path, camera, address] = data.videos[row[VIDEO]];
    const picture = row[PICTURE] < 0 ? "no picture" : make("img", { src: data.pictures[row[PICTURE]], alt: whoOf(row), loading: "lazy", width: 208, height: 156 });
    const name = path.split(/[\\/]/).pop();
    const where = [data.cameras[camera] || "no camera", `${name} at ${clock(row[START])}`];
    const asked = questionOf(row);
    const said = make("p", { className: "answer" }, ...marked(row[ANSWER]));
    if (row[SURE]) said.append(make("small", { textContent: `${Math.round(row[SURE] * 100)} %` }));
    const copy = make("button", { type: "button", textContent: "Copy place", title: path });
    copy.onclick = () => copyText(`${path} ${clock(row[START])}`, copy);
    return make("li", {},
      make("div", { className: "shot" }, picture),
      make("div", { className: "when" },
        make("b", { textContent: row[WALL] ? row[WALL].slice(0, 19).replace("T", " ") : "time unknown", title: row[WALL] || "" }),
        make("span", { textContent: where[0] }), make("span", { textContent: where[1] })),
      make("div", { className: "said" },
        make("p", { className: "about" }, make("b", { textContent: whoOf(row) }), ` · ${data.tasks[row[TASK]]}${asked ? `: ${asked}` : ""}`), said),
      make("div", { className: "do" },
        address ? make("a", { href: `${address}#t=${row[START].toFixed(2)}`, target: "_blank", rel: "noreferrer noopener", textContent: "Watch" }) : null, copy));
  };

  const copyText = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text });
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const was = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = was; }, 1200);
  };

  // ---------------------------------------------------------------- counts over time
  const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY];
  const NAMES = ["minute", "5 minutes", "15 minutes", "hour", "3 hours", "day", "week", "4 weeks", "year"];
  const stamp = (at, end = false) => {
    const text = new Date(at).toISOString();
    return step % DAY === 0 ? new Date(at - (end ? DAY : 0)).toISOString().slice(0, 10) : text.slice(5, 16).replace("T", " ");
  };
  let low = Infinity, high = -Infinity;
  for (const row of data.rows) {
    if (row[WALL]) { const at = naive(row[WALL]); low = Math.min(low, at); high = Math.max(high, at); }
  }
  let step = STEPS.find((one) => (high - low) / one <= 72) ?? STEPS.at(-1);
  const svg = (tag, props, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  let last = [];
  const drawChart = (rows) => {
    last = rows;
    if (low > high) return;
    const first = Math.floor(low / step), bins = new Array(Math.floor(high / step) - first + 1).fill(0);
    let unknown = 0;
    for (const n of rows) {
      const wall = data.rows[n][WALL];
      if (wall) bins[Math.floor(naive(wall) / step) - first] += 1; else unknown += 1;
    }
    const width = Math.max(240, $("chart").clientWidth), height = 120, top = 14, bottom = 20, left = 34;
    const most = Math.max(1, ...bins), wide = (width - left) / bins.length;
    const y = (count) => height - bottom - (count / most) * (height - top - bottom);
    const parts = [0, most].map((count) => svg("g", {}, svg("line", { x1: left, x2: width, y1: y(count), y2: y(count) }), text(left - 6, y(count) + 4, count.toLocaleString("en"), "end")));
    bins.forEach((count, n) => {
      const at = (first + n) * step, x = left + n * wide, gap = wide > 4 ? 1 : 0;
      const on = filter.from === null || (at >= filter.from && at < filter.to);
      const bar = svg("rect", { class: "count", x: x + gap, width: Math.max(0.5, Math.min(wide - 2 * gap, 48)), y: y(count), height: height - bottom - y(count), rx: Math.min(2, wide / 4) });
      const hit = svg("rect", { class: "hit", x, width: wide, y: top, height: height - bottom - top });
      const tip = svg("title", {});
      tip.textContent = `${stamp(at)}: ${many(count, "answer", "answers")}`;
      const group = svg("g", on ? {} : { class: "off" }, bar, hit, tip);
      hit.addEventListener("click", () => {
        const same = filter.from === at && filter.to === at + step;
        [filter.from, filter.to] = same ? [null, null] : [at, at + step];
        update();
      });
      parts.push(group);
    });
    const every = Math.ceil(bins.length / Math.max(2, Math.floor((width - left) / 92)));
    for (let n = 0; n < bins.length; n += every) {
      if (left + n * wide + 76 < width + 8 || n === 0) parts.push(text(left + n * wide, height - 5, stamp((first + n) * step), "start"));
    }
    $("chart").replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Answers over time" }, ...parts));
    $("chart-note").textContent = `per ${NAMES[STEPS.indexOf(step)]}, by each camera's clock` + (unknown ? `; ${many(unknown, "answer has", "answers have")} no time of day` : "");
  };
  const text = (x, y, words, anchor) => { const node = svg("text", { x, y, "text-anchor": anchor }); node.textContent = words; return node; };

  // ---------------------------------------------------------------- the page
  const fill = (id, all, entries) => {
    $(id).replaceChildren(make("option", { value: "", textContent: all }), ...entries.map(([value, name]) => make("option", { value, textContent: name })));
    $(id).onchange = () => { filter[id] = $(id).value; update(); };
  };
  const named = (names, empty) => names.map((name, n) => [String(n), name || empty]).sort((a, b) => a[1].localeCompare(b[1]));
  document.title = `${data.run} – report`;
  $("name").textContent = data.run;
  $("made").textContent = `Written ${data.made.slice(0, 16).replace("T", " ")}` + (data.redacted ? ` · ${data.redacted} made unrecognisable in pictures` : "");
  const videos = new Set(data.rows.map((row) => row[VIDEO])).size;
  const figures = [["answers", data.rows.length], ["recordings", videos], ["cameras", data.cameras.length], ["failures", data.failures.length]];
  $("figures").replaceChildren(...figures.map(([name, count]) => make("div", { className: name === "failures" && count ? "bad" : "" }, make("dt", { textContent: name }), make("dd", { textContent: count.toLocaleString("en") }))));
  const notes = [];
  if (data.left_out) notes.push(`${many(data.left_out, "further answer is", "further answers are")} not on this page: there are too many for one. Narrow it by camera or time when you write it.`);
  if (data.dropped) notes.push(`${many(data.dropped, "picture is", "pictures are")} left out` + (data.redacted ? ": only pictures inside this page are redacted." : ": the files are gone."));
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(...notes.map((note) => make("li", { textContent: note })));
  const days = [...new Set(data.rows.map((row) => (row[WALL] ? row[WALL].slice(0, 10) : "-")))].sort();
  fill("camera", "All cameras", named(data.cameras, "no camera"));
  fill("day", "All days", days.map((day) => [day, day === "-" ? "unknown" : day]));
  fill("label", "All labels", named(data.labels, "no label"));
  fill("task", "All tasks", named(data.tasks, "no name"));
  $("order").onchange = () => { filter.order = $("order").value; update(); };
  let wait = 0;
  $("words").oninput = () => { clearTimeout(wait); wait = setTimeout(() => { filter.words = $("words").value; update(); }, 120); };
  $("filters").onsubmit = (event) => event.preventDefault();
  $("span").onclick = () => { filter.from = filter.to = null; update(); };
  $("clear").onclick = () => {
    Object.assign(filter, { words: "", camera: "", day: "", label: "", task: "", from: null, to: null });
    for (const id of ["words", "camera", "day", "label", "task"]) $(id).value = "";
    update();
  };
  $("failed").hidden = !data.failures.length;
  $("failed").querySelector("summary").textContent = many(data.failures.length, "failure", "failures");
  $("failures").replaceChildren(...data.failures.slice(0, 2000).map(([video, task, ids, error]) => make("li", {},
    make("b", { textContent: video }), task ? ` ${task} of ${ids.map((id) => `<${id}>`).join(" and ")}` : "", make("span", { textContent: ` – ${error}` }))));
  $("over-time").hidden = low > high;
  update();
  let size = innerWidth;
  addEventListener("resize", () => { if (size !== innerWidth) { size = innerWidth; drawChart(last); } });
})();
