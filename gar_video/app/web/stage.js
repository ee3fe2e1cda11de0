// The clip on the page: its frames, the way through them, and what the server says of them.
"use strict";
const gv = (window.gv = window.gv || {});

gv.state = null; // what the server last said
gv.frame = 0;
gv.active = null; // id of the object that is pointed at
gv.tool = "on";
gv.masks = true;
gv.playing = null;

gv.mount = function (element, server, props, watch) {
  const root = element.querySelector(".gv");
  gv.root = root;
  gv.server = server;
  gv.find = (selector) => root.querySelector(selector);
  gv.picture = gv.find(".gv-view img");
  gv.listenToTransport();
  gv.listenToPointer();
  gv.listenToLanes();
  gv.listenToDrops();
  watch("value", () => gv.take(props.value));
  gv.take(props.value);
};

/** Take what the server says and show it. */
gv.take = function (state) {
  if (!state || typeof state !== "object") return;
  const before = gv.state;
  // Answers may overtake each other; an older picture of the same clip is not shown.
  if (before && before.key === state.key && state.version < before.version) return;
  const sameClip =
    before && before.key === state.key && JSON.stringify(before.clip) === JSON.stringify(state.clip);
  gv.state = state;
  if (!sameClip) {
    gv.pause();
    gv.frame = 0;
    gv.active = null;
  }
  if (!state.objects.some((one) => one.id === gv.active)) {
    gv.active = state.objects.length ? state.objects[state.objects.length - 1].id : null;
  }
  gv.show();
};

gv.show = function () {
  const { clip, busy, message, problem } = gv.state;
  gv.find(".gv-drop").hidden = Boolean(clip);
  gv.find(".gv-main").hidden = !clip;
  document.body.classList.toggle("gv-empty", !clip);
  gv.find(".gv-message").textContent = message;
  gv.find(".gv-message").classList.toggle("gv-problem", problem);
  gv.showProgress(busy);
  if (!clip) return;
  const view = gv.find(".gv-view");
  view.style.aspectRatio = `${clip.width} / ${clip.height}`;
  view.style.setProperty("--shape", clip.width / clip.height);
  gv.root.classList.toggle("gv-photo", clip.photo);
  gv.find(".gv-scrub").max = clip.frames - 1;
  gv.seek(gv.frame);
  gv.showTools();
  gv.showLanes();
  gv.showHelpers();
};

gv.showProgress = function (busy) {
  const bar = gv.find(".gv-progress");
  document.body.classList.toggle("gv-busy", Boolean(busy));
  bar.hidden = !busy;
  if (!busy) return;
  const share = busy.total ? busy.done / busy.total : 0;
  bar.classList.toggle("gv-unknown", !busy.total);
  bar.querySelector("i").style.width = `${100 * share}%`;
  bar.querySelector("span").textContent = busy.total
    ? `${busy.doing}: ${busy.done} of ${busy.total}`
    : busy.doing;
};

// ---- frames -----------------------------------------------------------------------------------

gv.timeOf = function (frame) {
  const { times, fps } = gv.state.clip;
  return times ? times[frame] : frame / fps;
};

gv.frameAt = function (seconds) {
  const { times, fps, frames } = gv.state.clip;
  let found = times ? times.findIndex((time) => time > seconds + 1e-4) - 1 : Math.floor(seconds * fps);
  if (times && found === -2) found = frames - 1;
  return Math.max(0, Math.min(frames - 1, found));
};

gv.addressOf = function (frame) {
  const plain = gv.masks ? "" : "&plain=1";
  return `/frames/${gv.state.key}/${frame}.jpg?v=${gv.state.version}${plain}`;
};

/** Show a frame; while one is on its way, only the newest wish is remembered. */
gv.seek = function (frame) {
  const { clip } = gv.state;
  gv.frame = Math.max(0, Math.min(clip.frames - 1, frame));
  gv.find(".gv-scrub").value = gv.frame;
  gv.find(".gv-clock").textContent = clip.photo
    ? `${clip.width} × ${clip.height}`
    : `${gv.timeOf(gv.frame).toFixed(2)} s · ${gv.frame} of ${clip.frames - 1}`;
  gv.drawMarks();
  gv.placeHead();
  gv.fetchPicture();
};

gv.fetchPicture = function () {
  const wanted = gv.addressOf(gv.frame);
  if (gv.loading || gv.picture.dataset.shows === wanted) return;
  const image = new Image();
  gv.loading = wanted;
  const done = (good) => {
    gv.loading = null;
    if (good) gv.picture.src = wanted;
    gv.picture.dataset.shows = wanted;
    gv.picture.dataset.frame = good ? wanted.match(/\/(\d+)\.jpg/)[1] : "";
    gv.find(".gv-view").classList.toggle("gv-damaged", !good);
    if (gv.state.clip && gv.addressOf(gv.frame) !== wanted) gv.fetchPicture();
  };
  image.onload = () => done(true);
  image.onerror = () => done(false);
  image.src = wanted;
};

// ---- the way through --------------------------------------------------------------------------

gv.play = function () {
  const { clip } = gv.state;
  if (!clip || clip.photo) return;
  if (gv.frame === clip.frames - 1) gv.seek(0);
  const begun = performance.now() - 1000 * gv.timeOf(gv.frame);
  gv.playing = setInterval(() => {
    if (gv.loading) return;
    const seconds = (performance.now() - begun) / 1000;
    if (seconds >= clip.duration) {
      gv.seek(clip.frames - 1);
      gv.pause();
      return;
    }
    const frame = gv.frameAt(seconds);
    if (frame !== gv.frame) gv.seek(frame);
  }, 15);
  gv.showPlaying();
};

gv.pause = function () {
  clearInterval(gv.playing);
  gv.playing = null;
  gv.showPlaying();
};

gv.showPlaying = function () {
  const button = gv.find(".gv-play");
  button.querySelector("use").setAttribute("href", gv.playing ? "#gv-i-pause" : "#gv-i-play");
  button.setAttribute("aria-label", gv.playing ? "Pause" : "Play");
};

gv.step = function (by) {
  if (!gv.state || !gv.state.clip) return;
  gv.pause();
  gv.seek(gv.frame + by);
};

gv.listenToTransport = function () {
  gv.find(".gv-scrub").addEventListener("input", (event) => {
    gv.pause();
    gv.seek(Number(event.target.value));
  });
  const acts = {
    back: () => gv.step(-1),
    next: () => gv.step(1),
    play: () => (gv.playing ? gv.pause() : gv.play()),
    undo: () => gv.tell({ do: "undo" }),
    clear: () => gv.active !== null && gv.tell({ do: "clear", object: gv.active, frame: gv.frame }),
    masks: () => gv.toggleMasks(),
  };
  gv.root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button && acts[button.dataset.act]) acts[button.dataset.act]();
    const press = event.target.closest("[data-press]");
    if (press) gv.press(press.dataset.press);
    const tool = event.target.closest("[data-tool]");
    if (tool) gv.choose(tool.dataset.tool);
  });
  document.addEventListener("click", (event) => {
    const thumb = event.target.closest("[data-frame].gv-thumb");
    if (!thumb || !gv.state || !gv.state.clip) return;
    gv.pause();
    gv.seek(Number(thumb.dataset.frame));
    gv.root.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
};

/** Press a button of Gradio's, or open its file dialogue. */
gv.press = function (id) {
  const home = document.getElementById(id);
  const button = home && (home.matches("button") ? home : home.querySelector("button"));
  if (button) button.click();
};

gv.toggleMasks = function () {
  gv.masks = !gv.masks;
  gv.find('[data-act="masks"]').setAttribute("aria-pressed", gv.masks);
  if (gv.state && gv.state.clip) gv.fetchPicture();
};

// ---- talking to the server --------------------------------------------------------------------

gv.queue = Promise.resolve();

/** Tell the server what was done, one thing after the other, and show what comes of it. */
gv.tell = function (gesture) {
  gv.queue = gv.queue.then(async () => {
    try {
      const said = await gv.server.gesture({ key: gv.state.key, gesture });
      if (said.about !== null && said.about !== undefined) gv.active = said.about;
      gv.take(said.state);
      return said;
    } catch (error) {
      gv.say("The page has lost its server; start it again, or reload.");
      return null;
    }
  });
  return gv.queue;
};

/** Have the pixels shown that marks mean; the page goes on meanwhile. */
gv.preview = async function (object, frame) {
  const view = gv.find(".gv-view");
  view.classList.add("gv-thinking");
  try {
    gv.take(await gv.server.preview({ key: gv.state.key, object, frame }));
  } catch (error) {
    gv.say("The page has lost its server; start it again, or reload.");
  } finally {
    view.classList.remove("gv-thinking");
  }
};

gv.say = function (text) {
  gv.find(".gv-message").textContent = text;
  gv.find(".gv-message").classList.add("gv-problem");
};

gv.listenToDrops = function () {
  const over = (event, on) => {
    event.preventDefault();
    gv.root.classList.toggle("gv-over", on);
  };
  gv.root.addEventListener("dragover", (event) => over(event, true));
  gv.root.addEventListener("dragleave", (event) => over(event, false));
  gv.root.addEventListener("drop", (event) => {
    over(event, false);
    const button = document.getElementById("gv-open");
    const home = button && button.closest("#gv-top");
    const input = home && home.querySelector("input[type=file]");
    if (!event.dataTransfer.files.length || !input) return;
    const files = new DataTransfer();
    files.items.add(event.dataTransfer.files[0]);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
};
