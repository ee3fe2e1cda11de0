// Pointing: clicks, boxes and the brush, drawn over the frame.
"use strict";

gv.svg = function (name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

gv.colorOf = function (id) {
  const found = gv.state.objects.find((one) => one.id === id);
  return found ? found.color : "#e63c3c";
};

gv.choose = function (tool) {
  gv.tool = tool;
  gv.showTools();
};

gv.showTools = function () {
  for (const button of gv.root.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-checked", button.dataset.tool === gv.tool);
  }
  gv.find(".gv-size").hidden = gv.tool !== "brush" && gv.tool !== "eraser";
  gv.find(".gv-view").dataset.tool = gv.tool;
};

/** The brush's radius in pixels of the clip: its slider is in shares of the picture. */
gv.radius = function () {
  const share = Number(gv.find(".gv-radius").value) / 1000;
  return Math.max(1, share * Math.max(gv.state.clip.width, gv.state.clip.height));
};

/** How many pixels of the clip one pixel of the page is. */
gv.scale = function () {
  return gv.state.clip.width / Math.max(1, gv.find(".gv-view").clientWidth);
};

gv.drawMarks = function () {
  const { clip, objects } = gv.state;
  const layer = gv.find(".gv-marks");
  layer.setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
  layer.replaceChildren();
  const unit = gv.scale();
  for (const one of objects) {
    const marks = one.marks[gv.frame];
    if (!marks || one.hidden) continue;
    const group = gv.svg("g", { opacity: one.id === gv.active ? 1 : 0.55 });
    if (marks.box) group.append(gv.boxOf(marks.box, one.color, unit));
    for (const [x, y, label] of marks.points) {
      group.append(gv.svg("circle", {
        cx: x, cy: y, r: 6 * unit, fill: label ? one.color : "#fff", stroke: label ? "#fff" : one.color,
        "stroke-width": 2 * unit, class: "gv-point",
      }));
      const arm = 3 * unit;
      const sign = label ? `M${x} ${y - arm}V${y + arm}M${x - arm} ${y}H${x + arm}` : `M${x - arm} ${y}H${x + arm}`;
      group.append(gv.svg("path", { d: sign, stroke: label ? "#fff" : one.color, "stroke-width": 2 * unit }));
    }
    layer.append(group);
  }
  if (gv.drag) layer.append(gv.dragShape(unit));
};

gv.boxOf = function ([x1, y1, x2, y2], color, unit) {
  const group = gv.svg("g", { fill: "none" });
  const sides = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  group.append(gv.svg("rect", { ...sides, stroke: "#fff", "stroke-width": 4 * unit, opacity: 0.7 }));
  group.append(gv.svg("rect", {
    ...sides, stroke: color, "stroke-width": 2 * unit, "stroke-dasharray": `${6 * unit} ${4 * unit}`,
  }));
  return group;
};

gv.dragShape = function (unit) {
  const way = gv.drag.way;
  const color = gv.drag.tool === "eraser" ? "#fff" : gv.colorOf(gv.active);
  if (gv.drag.tool === "box") {
    const [x1, y1] = way[0];
    const [x2, y2] = way[way.length - 1];
    return gv.boxOf([Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)], color, unit);
  }
  return gv.svg("polyline", {
    points: [...way, way[way.length - 1]].map((at) => at.join(",")).join(" "), fill: "none", stroke: color,
    "stroke-width": 2 * gv.radius(), "stroke-linecap": "round", "stroke-linejoin": "round", opacity: 0.55,
  });
};

gv.listenToPointer = function () {
  const view = gv.find(".gv-view");
  const at = (event) => {
    const frame = view.getBoundingClientRect();
    const { width, height } = gv.state.clip;
    const x = ((event.clientX - frame.left) / frame.width) * width;
    const y = ((event.clientY - frame.top) / frame.height) * height;
    return [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
  };
  view.addEventListener("pointerdown", (event) => {
    if (!gv.state.clip || (event.button !== 0 && event.button !== 2)) return;
    gv.pause();
    const tool = event.button === 2 || event.shiftKey ? "off" : gv.tool;
    gv.drag = { tool, way: [at(event)], from: [event.clientX, event.clientY], id: event.pointerId };
    if (tool !== "on" && tool !== "off") {
      view.setPointerCapture(event.pointerId);
      event.preventDefault();
    }
    if (tool === "on" || tool === "off") return;
    gv.drawMarks();
  });
  view.addEventListener("pointermove", (event) => {
    if (!gv.drag || event.pointerId !== gv.drag.id || gv.drag.tool === "on" || gv.drag.tool === "off") return;
    gv.drag.way.push(at(event));
    gv.drawMarks();
  });
  view.addEventListener("pointerup", (event) => {
    const drag = gv.drag;
    gv.drag = null;
    if (!drag || event.pointerId !== drag.id) return;
    const moved = Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]);
    // A finger that moves is scrolling the page.
    if ((drag.tool === "on" || drag.tool === "off") && moved > 12) return;
    gv.finish(drag, moved);
  });
  view.addEventListener("pointercancel", () => {
    gv.drag = null;
    gv.drawMarks();
  });
  view.addEventListener("contextmenu", (event) => event.preventDefault());
  new ResizeObserver(() => gv.state && gv.state.clip && gv.drawMarks()).observe(view);
};

gv.finish = async function (drag, moved) {
  const frame = gv.frame;
  const object = gv.active;
  const [x, y] = drag.way[0];
  let gesture;
  if (drag.tool === "on" || drag.tool === "off") {
    gesture = { do: "point", object, frame, x, y, label: drag.tool === "on" ? 1 : 0 };
  } else if (drag.tool === "box") {
    if (moved < 4) return gv.drawMarks();
    gesture = { do: "box", object, frame, xyxy: [x, y, ...drag.way[drag.way.length - 1]] };
  } else {
    const few = Math.ceil(drag.way.length / 2000);
    const way = drag.way.filter((_, index) => index % few === 0);
    gesture = { do: "paint", object, frame, way, radius: gv.radius(), erase: drag.tool === "eraser" };
  }
  const said = await gv.tell(gesture);
  if (said && !said.state.problem && drag.tool !== "brush" && drag.tool !== "eraser") {
    gv.preview(said.about, frame);
  }
  return said;
};
