// The objects and when they are seen; the part of the clip that questions look at; keys.
"use strict";

gv.element = function (name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children); // words become text, never markup
  return made;
};

gv.iconButton = function (name, label, attributes) {
  const icon = gv.svg("svg", { class: "gv-icon", "aria-hidden": "true" });
  icon.append(gv.svg("use", { href: `#gv-i-${name}` }));
  return gv.element("button", { type: "button", class: "gv-plain", "aria-label": label, title: label, ...attributes }, icon);
};

gv.showLanes = function () {
  const { clip, objects, window: span } = gv.state;
  const lanes = gv.find(".gv-lanes");
  if (lanes.contains(document.activeElement) && document.activeElement.matches(".gv-name-field")) {
    gv.lanesLater = true; // not under the fingers of whoever is typing a name
    return;
  }
  const rows = objects.map((one) => gv.laneOf(one, clip));
  const add = gv.element("button", { type: "button", class: "gv-button gv-add", "data-add": true }, "+ Object");
  const hint = gv.element("span", { class: "gv-tip" }, gv.tip());
  const head = gv.element("div", { class: "gv-lanes-head" }, gv.element("h3", {}, "Objects"), add, hint);
  lanes.replaceChildren(head);
  if (!clip.photo) lanes.append(gv.rulerOf(clip, span));
  lanes.append(...rows);
  gv.placeHead();
};

gv.tip = function () {
  const { objects, clip } = gv.state;
  const marked = objects.some((one) => Object.keys(one.marks).length);
  if (!objects.some((one) => one.tracked) && !marked) return "Click on an object in the picture.";
  if (objects.some((one) => one.stale)) return "Press Track to follow what you pointed at.";
  return clip.photo ? "" : "Wrong somewhere? Go there, click to correct it, and track again.";
};

gv.rulerOf = function (clip, span) {
  const ruler = gv.element("div", {
    class: "gv-ruler", role: "group", tabindex: 0,
    "aria-label": "Part of the clip that questions look at; drag to choose it",
    title: "Drag to restrict questions to a part of the clip",
  });
  for (let part = 0; part <= 4; part += 1) {
    const seconds = (clip.duration * part) / 4;
    const tick = gv.element("span", { class: "gv-tick" }, `${seconds.toFixed(clip.duration < 20 ? 1 : 0)} s`);
    tick.style.left = `${part * 25}%`;
    ruler.append(tick);
  }
  if (span) {
    const shade = gv.element("div", { class: "gv-window" });
    gv.stretch(shade, span, clip);
    ruler.append(shade);
  }
  const clear = gv.element("button", { type: "button", class: "gv-plain gv-unwindow", hidden: !span }, "whole clip");
  const words = span ? `${span[0].toFixed(2)} to ${span[1].toFixed(2)} s` : "time";
  return gv.element("div", { class: "gv-lane gv-time" }, gv.element("div", { class: "gv-lane-head" },
    gv.element("span", { class: "gv-span" }, words), clear), ruler);
};

gv.stretch = function (shade, [start, end], clip) {
  shade.style.left = `${(100 * start) / clip.duration}%`;
  shade.style.width = `${(100 * (end - start)) / clip.duration}%`;
};

gv.laneOf = function (one, clip) {
  const place = gv.state.objects.indexOf(one) + 1;
  const chip = gv.element("button", {
    type: "button", class: "gv-chip", "data-pick": one.id, "aria-pressed": one.id === gv.active,
    title: place < 10 ? `Point at this object (${place})` : "Point at this object",
  }, String(one.id));
  chip.style.setProperty("--chip", one.color);
  const name = gv.element("input", {
    class: "gv-name-field", value: one.name, placeholder: "name", maxlength: 80, "data-name": one.id,
    "aria-label": `Name of object ${one.id}`, autocomplete: "off", spellcheck: "false",
  });
  const color = gv.element("input", { type: "color", value: one.color, "data-color": one.id, "aria-label": `Color of object ${one.id}`, title: "Color" });
  const hide = gv.iconButton(one.hidden ? "closed" : "eye", one.hidden ? `Show object ${one.id}` : `Hide object ${one.id}`, { "data-hide": one.id });
  const bin = gv.iconButton("bin", `Remove object ${one.id}`, { "data-remove": one.id });
  const head = gv.element("div", { class: "gv-lane-head" }, chip, name, color, hide, bin);
  const bar = gv.element("div", { class: "gv-bar-lane", "data-bar": one.id });
  bar.style.setProperty("--chip", one.color);
  if (!clip.photo) {
    for (const [first, last] of one.runs) {
      const run = gv.element("i", { class: "gv-run" });
      run.style.left = `${(100 * first) / clip.frames}%`;
      run.style.width = `${(100 * (last + 1 - first)) / clip.frames}%`;
      bar.append(run);
    }
    for (const frame of Object.keys(one.marks)) {
      const mark = gv.element("b", { class: "gv-mark", title: `Marked on frame ${frame}` });
      mark.style.left = `${(100 * (Number(frame) + 0.5)) / clip.frames}%`;
      bar.append(mark);
    }
  }
  const seen = one.runs.reduce((sum, [first, last]) => sum + last + 1 - first, 0);
  const status = !one.tracked ? (Object.keys(one.marks).length ? "not tracked yet" : "click on it")
    : one.stale ? "corrected; track again" : clip.photo ? "" : `seen in ${seen} of ${clip.frames} frames`;
  bar.setAttribute("aria-label", `Object ${one.id}: ${status}`);
  bar.title = status;
  const row = gv.element("div", { class: "gv-lane", "data-id": one.id }, head, bar);
  row.classList.toggle("gv-active", one.id === gv.active);
  if (!one.tracked || one.stale) bar.append(gv.element("span", { class: "gv-status" }, status));
  return row;
};

gv.placeHead = function () {
  const { clip } = gv.state;
  const at = `${(100 * (gv.frame + 0.5)) / clip.frames}%`;
  for (const bar of gv.root.querySelectorAll(".gv-ruler, .gv-bar-lane")) {
    let head = bar.querySelector(".gv-head");
    if (!head) bar.append((head = gv.element("u", { class: "gv-head" })));
    head.style.left = at;
  }
};

gv.listenToLanes = function () {
  const lanes = gv.find(".gv-lanes");
  lanes.addEventListener("click", (event) => {
    const found = (name) => event.target.closest(`[data-${name}]`);
    if (found("add")) gv.tell({ do: "add" });
    else if (found("pick")) gv.pick(Number(found("pick").dataset.pick));
    else if (found("hide")) {
      const id = Number(found("hide").dataset.hide);
      gv.tell({ do: "hide", object: id, hidden: !gv.state.objects.find((one) => one.id === id).hidden });
    } else if (found("remove")) gv.tell({ do: "remove", object: Number(found("remove").dataset.remove) });
    else if (event.target.closest(".gv-unwindow")) gv.tell({ do: "window", span: null });
  });
  lanes.addEventListener("change", (event) => {
    const { name, color } = event.target.dataset;
    if (name) gv.tell({ do: "rename", object: Number(name), name: event.target.value });
    if (color) gv.tell({ do: "recolor", object: Number(color), color: event.target.value });
  });
  lanes.addEventListener("focusout", () => {
    if (gv.lanesLater) setTimeout(() => { gv.lanesLater = false; gv.showLanes(); }, 0);
  });
  lanes.addEventListener("keydown", (event) => {
    if (event.target.matches(".gv-name-field") && event.key === "Enter") event.target.blur();
  });
  lanes.addEventListener("pointerdown", (event) => {
    const bar = event.target.closest(".gv-ruler, .gv-bar-lane");
    if (bar && event.button === 0) gv.dragTime(bar, event);
  });
};

/** Drag along the ruler to choose a part of the clip, or along an object's bar to go there. */
gv.dragTime = function (bar, event) {
  const { clip } = gv.state;
  if (clip.photo) return;
  gv.pause();
  const chooses = bar.classList.contains("gv-ruler");
  const box = bar.getBoundingClientRect();
  const share = (move) => Math.max(0, Math.min(1, (move.clientX - box.left) / box.width));
  const start = share(event);
  let shade = null;
  const toFrame = (move) => gv.seek(Math.min(clip.frames - 1, Math.floor(share(move) * clip.frames)));
  toFrame(event);
  const onMove = (move) => {
    toFrame(move);
    if (!chooses || Math.abs(share(move) - start) * box.width < 5) return;
    for (const other of bar.querySelectorAll(".gv-window")) if (other !== shade) other.remove();
    if (!shade) bar.append((shade = gv.element("div", { class: "gv-window" })));
    gv.stretch(shade, [Math.min(start, share(move)) * clip.duration, Math.max(start, share(move)) * clip.duration], clip);
  };
  const onUp = (move) => {
    window.removeEventListener("pointermove", onMove);
    window.removeEventListener("pointerup", onUp);
    if (!shade) return;
    const ends = [start, share(move)].sort((a, b) => a - b).map((one) => one * clip.duration);
    gv.tell({ do: "window", span: ends });
  };
  window.addEventListener("pointermove", onMove);
  window.addEventListener("pointerup", onUp);
  event.preventDefault();
};

gv.pick = function (id) {
  gv.active = id;
  gv.showLanes();
  gv.drawMarks();
};

// ---- beside the questions ---------------------------------------------------------------------

/** Show what questions look at, and chips that write an object into the question. */
gv.showHelpers = function () {
  const { objects, window: span } = gv.state;
  const words = span ? `Looks at ${span[0].toFixed(2)} to ${span[1].toFixed(2)} s` : "Looks at the whole clip";
  for (const note of document.querySelectorAll(".gv-looks")) note.textContent = words;
  for (const home of document.querySelectorAll(".gv-insert")) {
    home.replaceChildren(...objects.filter((one) => one.tracked).map((one) => {
      const chip = gv.element("button", {
        type: "button", class: "gv-chip", title: one.name ? `<${one.id}> ${one.name}` : `<${one.id}>`,
        "aria-label": `Write <${one.id}> into the question`,
      }, String(one.id));
      chip.style.setProperty("--chip", one.color);
      chip.addEventListener("click", () => gv.insert(home.dataset.into, `<${one.id}>`));
      return chip;
    }));
  }
};

// Gradio makes a tab's widgets when it is opened first.
new MutationObserver(() => {
  const fresh = [...document.querySelectorAll(".gv-insert:not([data-filled])")];
  if (!fresh.length || !gv.state || !gv.state.clip) return;
  for (const home of fresh) home.dataset.filled = "yes";
  gv.showHelpers();
}).observe(document.documentElement, { childList: true, subtree: true });

gv.insert = function (id, text) {
  const field = document.querySelector(`#${id} textarea, #${id} input`);
  if (!field) return;
  const [start, end] = [field.selectionStart ?? field.value.length, field.selectionEnd ?? field.value.length];
  field.value = field.value.slice(0, start) + text + field.value.slice(end);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
  field.setSelectionRange(start + text.length, start + text.length);
};

// ---- keys -------------------------------------------------------------------------------------

gv.onKey = function (event) {
  const into = event.target;
  const typing = into.matches && into.matches("textarea, select, [contenteditable=true], input:not([type=range]):not([type=checkbox]):not([type=radio])");
  if (event.key === "Escape" && typing) into.blur();
  if (typing || !gv.state || !gv.state.clip || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "z") gv.tell({ do: "undo" });
    else return;
    event.preventDefault();
    return;
  }
  const far = event.shiftKey ? 10 : 1;
  const onButton = into.closest && into.closest("button, [role=tab], summary, a, [role=listbox], [role=radio]");
  // These have arrow keys of their own.
  if (into.matches && into.matches("[role=listbox], [role=option], [role=tab]") && event.key.startsWith("Arrow")) return;
  if (event.key === "ArrowLeft") gv.step(-far);
  else if (event.key === "ArrowRight") gv.step(far);
  else if (event.key === "Home") gv.step(-1e9);
  else if (event.key === "End") gv.step(1e9);
  else if (event.key === " " && !onButton) gv.playing ? gv.pause() : gv.play();
  else if (/^[1-9]$/.test(event.key)) {
    const one = gv.state.objects[Number(event.key) - 1];
    if (one) gv.pick(one.id);
  } else if (event.key === "/") {
    const fields = [...document.querySelectorAll("#gv-question textarea, #gv-choice textarea")];
    const field = fields.find((one) => one.offsetParent) || fields[0];
    if (field) field.focus();
  } else if (event.key === "m") gv.toggleMasks();
  else return;
  event.preventDefault();
};
document.addEventListener("keydown", (event) => gv.onKey(event));
