// What a page from scrub(), compare() and impedance() does in the browser. It needs no kernel, no
// network and no library; `data` comes from page.py.

const SVG_WIDTH = 400, SVG_HEIGHT = 176;
const LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 30;

function element(parent, tag, attributes = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// An image: decoded once, then drawn as often as the slider moves.
function loaded(source) {
  const image = new Image();
  image.src = source;
  image.ready = image.decode().catch(() => {});
  return image;
}

// ---- scrub: images under a slider, with curves -------------------------------------------------

function scrub(root, data) {
  const view = { zoom: 1, x: 0.5, y: 0.5 }; // the middle of what is shown, in fractions of the image
  const enlarged = Math.max(1, Math.floor(256 / Math.max(data.width, data.height)));
  let now = data.start, shown = "image", band = null, timer = null;

  const row = data.panes.length <= 4 ? "dip-panes dip-row" : "dip-panes"; // four share a row
  const panes = element(root, "div", { class: row });
  const stills = {};
  for (const pane of data.panes) {
    const figure = element(panes, "figure");
    pane.canvas = element(figure, "canvas", {
      width: data.width * enlarged, height: data.height * enlarged, tabindex: 0, role: "img",
    });
    pane.caption = element(figure, "figcaption");
    figure.style.flex = `0 1 ${data.width * enlarged}px`;
    element(pane.caption, "b", {}, pane.title);
    pane.words = element(pane.caption, "span", {}, pane.words);
    pane.images = pane.frames.map(loaded);
    if (pane.still) stills[pane.still] = pane.images[0];
    listen(pane);
  }

  const bar = element(root, "div", { class: "dip-bar" });
  const play = element(bar, "button", { class: "dip-play", "aria-label": "play" }, "▶");
  const last = data.positions.length - 1;
  const slider = element(bar, "input", {
    type: "range", min: 0, max: last, step: 1, value: now, "aria-label": "iteration",
    list: root.dataset.key + "-ticks",
  });
  const told = element(bar, "output");
  const ticks = element(bar, "datalist", { id: root.dataset.key + "-ticks" });
  for (const mark of data.marks) element(ticks, "option", { value: mark.at });

  const tools = element(root, "div", { class: "dip-bar" });
  for (const mark of data.marks) {
    const jump = element(tools, "button", { "data-jump": mark.name });
    element(jump, "i").style.background = mark.colour;
    jump.append(`${mark.name}: ${mark.iteration}`);
    jump.onclick = () => go(mark.at);
  }
  const references = Object.keys(stills).filter((name) => name !== "small");
  if (references.length) {
    const choice = element(tools, "select", { "aria-label": "what is shown" });
    element(choice, "option", { value: "image" }, "the image");
    for (const name of references)
      element(choice, "option", { value: name }, `4 × its difference from the ${name}`);
    choice.onchange = () => { shown = choice.value; drawAll(); };
  }
  const whole = element(tools, "button", { hidden: "" }, "whole image");
  whole.onclick = () => zoom(1, 0.5, 0.5);
  element(tools, "span", { style: "opacity: 0.75" }, "drag over an image to look closer");

  const charts = element(root, "div", { class: "dip-charts" });
  for (const chart of data.charts) draft(chart);

  function listen(pane) {
    const canvas = pane.canvas;
    let from = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [clamp((event.clientX - box.left) / box.width, 0, 1),
              clamp((event.clientY - box.top) / box.height, 0, 1)];
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { at: place(event), x: view.x, y: view.y };
    };
    canvas.onpointermove = (event) => {
      if (!from) return;
      const [x, y] = place(event);
      if (view.zoom > 1) {
        zoom(view.zoom, from.x - (x - from.at[0]) / view.zoom, from.y - (y - from.at[1]) / view.zoom);
      } else {
        band = { pane, box: [from.at[0], from.at[1], x, y] };
        draw(pane);
      }
    };
    canvas.onpointerup = () => {
      const drawn = band;
      from = band = null;
      if (!drawn) return;
      const [a, b, c, d] = drawn.box;
      const size = Math.max(Math.abs(c - a), Math.abs(d - b));
      if (size > 0.03) zoom(1 / size, (a + c) / 2, (b + d) / 2);
      else draw(pane);
    };
    canvas.onkeydown = (event) => {
      const step = 0.1 / view.zoom;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (moves[event.key]) zoom(view.zoom, view.x + moves[event.key][0], view.y + moves[event.key][1]);
      else if (event.key === "+") zoom(view.zoom * 2, view.x, view.y);
      else if (event.key === "-") zoom(view.zoom / 2, view.x, view.y);
      else return;
      event.preventDefault();
    };
  }

  function zoom(factor, x, y) {
    view.zoom = clamp(factor, 1, 16);
    const half = 0.5 / view.zoom;
    view.x = clamp(x, half, 1 - half);
    view.y = clamp(y, half, 1 - half);
    whole.hidden = view.zoom === 1;
    drawAll();
  }

  function draw(pane) {
    const image = pane.images[Math.min(now, pane.images.length - 1)];
    if (!image.complete) return void image.ready.then(() => draw(pane));
    const canvas = pane.canvas, context = canvas.getContext("2d");
    const reference = !pane.still && stills[shown];
    const source = reference ? difference(image, reference) : image;
    const width = source.naturalWidth || source.width, height = source.naturalHeight || source.height;
    context.imageSmoothingEnabled = false;
    context.drawImage(
      source, (view.x - 0.5 / view.zoom) * width, (view.y - 0.5 / view.zoom) * height,
      width / view.zoom, height / view.zoom, 0, 0, canvas.width, canvas.height,
    );
    if (band && band.pane === pane) {
      const [a, b, c, d] = band.box;
      context.strokeStyle = "#fff";
      context.lineWidth = 3;
      context.strokeRect(a * canvas.width, b * canvas.height, (c - a) * canvas.width, (d - b) * canvas.height);
      context.strokeStyle = "#0072B2";
      context.lineWidth = 1.5;
      context.strokeRect(a * canvas.width, b * canvas.height, (c - a) * canvas.width, (d - b) * canvas.height);
    }
    pane.canvas.setAttribute("aria-label", `${pane.title}, ${pane.words.textContent}`);
  }

  function pixels(image) {
    const canvas = document.createElement("canvas");
    canvas.width = data.width;
    canvas.height = data.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, data.width, data.height);
  }

  function difference(image, reference) {
    const made = pixels(image), other = pixels(reference).data;
    for (let i = 0; i < other.length; i++) {
      if (i % 4 !== 3) made.data[i] = 127.5 + 4 * (made.data[i] - other[i]); // clamped by its type
    }
    const canvas = document.createElement("canvas");
    canvas.width = data.width;
    canvas.height = data.height;
    canvas.getContext("2d").putImageData(made, 0, 0);
    return canvas;
  }

  function drawAll() {
    for (const pane of data.panes) draw(pane);
  }

  function go(position) {
    now = clamp(Math.round(position), 0, last);
    slider.value = now;
    const iteration = data.positions[now];
    slider.setAttribute("aria-valuetext", `iteration ${iteration}`);
    told.textContent = `iteration ${iteration} of ${data.positions[last]}`;
    for (const pane of data.panes) {
      if (pane.captions) pane.words.textContent = pane.captions[now];
    }
    drawAll();
    for (const chart of data.charts) mark(chart, iteration);
  }

  slider.oninput = () => go(Number(slider.value));
  play.onclick = () => {
    const start = timer === null;
    clearInterval(timer);
    timer = null;
    if (start) {
      if (now === last) go(0);
      timer = setInterval(() => {
        if (now === last || !root.isConnected) play.click();
        else go(now + 1);
      }, 120);
    }
    play.textContent = start ? "❚❚" : "▶";
    play.setAttribute("aria-label", start ? "pause" : "play");
  };

  // -- curves: energy and PSNR over the iterations, on a logarithmic axis --

  function draft(chart) {
    const points = chart.series.flatMap((series) => series.points);
    const values = points.map((point) => (chart.log ? Math.log10(point[1]) : point[1]));
    chart.low = Math.min(...values);
    chart.high = Math.max(...values);
    const room = (chart.high - chart.low || 1) * 0.06;
    chart.low -= room;
    chart.high += room;
    chart.end = Math.log(Math.max(2, ...points.map((point) => point[0])));
    chart.x = (k) => LEFT + (Math.log(k) / chart.end) * (SVG_WIDTH - LEFT - RIGHT);
    chart.y = (v) => TOP + ((chart.high - (chart.log ? Math.log10(v) : v)) / (chart.high - chart.low)) *
      (SVG_HEIGHT - TOP - BOTTOM);
    const holder = element(charts, "div");
    const legend = element(holder, "div", { class: "dip-legend" });
    element(legend, "b", {}, chart.label);
    for (const series of chart.series.filter((each) => each.name)) {
      const entry = element(legend, "span");
      element(entry, "i").style.background = series.colour;
      entry.append(series.name);
    }
    const parts = [];
    for (const tick of chart.log ? decades(chart) : rounded(chart)) {
      const y = chart.y(tick);
      parts.push(`<line x1="${LEFT}" x2="${SVG_WIDTH - RIGHT}" y1="${y}" y2="${y}" stroke="#8884"/>`,
        `<text x="${LEFT - 5}" y="${y + 4}" text-anchor="end">${chart.log ? tick.toPrecision(1) : +tick.toFixed(2)}</text>`);
    }
    for (let k = 1; Math.log(k) <= chart.end + 1e-9; k *= 10) {
      parts.push(`<text x="${chart.x(k)}" y="${SVG_HEIGHT - BOTTOM + 15}" text-anchor="middle">${k}</text>`);
    }
    parts.push(`<text x="${SVG_WIDTH - RIGHT}" y="${SVG_HEIGHT - 3}" text-anchor="end">iteration</text>`);
    for (const mark of data.marks) {
      const x = chart.x(mark.iteration);
      parts.push(`<line x1="${x}" x2="${x}" y1="${TOP}" y2="${SVG_HEIGHT - BOTTOM}" stroke="${mark.colour}" stroke-dasharray="4 3"/>`);
    }
    for (const series of chart.series) {
      const line = series.points.map(([k, v]) => `${chart.x(k).toFixed(1)},${chart.y(v).toFixed(1)}`).join(" ");
      parts.push(`<polyline points="${line}" fill="none" stroke="${series.colour}" stroke-width="${series.thin ? 1 : 2}"/>`);
    }
    parts.push(`<line class="dip-now" y1="${TOP}" y2="${SVG_HEIGHT - BOTTOM}" stroke="currentColor"/>`);
    for (const series of chart.series) parts.push(`<circle class="dip-dot" r="4" fill="${series.colour}" stroke="#fff"/>`);
    chart.plot = element(holder, "div");
    chart.plot.innerHTML = `<svg viewBox="0 0 ${SVG_WIDTH} ${SVG_HEIGHT}" role="img" aria-label="${chart.label} over the iterations">${parts.join("")}</svg>`;
    chart.plot.onclick = (event) => {
      const box = chart.plot.firstChild.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * SVG_WIDTH;
      const k = Math.exp(((x - LEFT) / (SVG_WIDTH - LEFT - RIGHT)) * chart.end);
      const far = data.positions.map((p) => Math.abs(Math.log(p / k)));
      go(far.indexOf(Math.min(...far)));
    };
  }

  function decades(chart) {
    const ticks = [];
    for (let power = Math.ceil(chart.low); power <= chart.high; power++) ticks.push(10 ** power);
    return ticks.length ? ticks : [10 ** ((chart.low + chart.high) / 2)];
  }

  function rounded(chart) {
    const rough = (chart.high - chart.low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough);
    const ticks = [];
    for (let t = Math.ceil(chart.low / step) * step; t <= chart.high; t += step) ticks.push(t);
    return ticks;
  }

  function mark(chart, iteration) {
    const line = chart.plot.querySelector(".dip-now"), x = chart.x(iteration);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const dots = chart.plot.querySelectorAll(".dip-dot");
    chart.series.forEach((series, i) => {
      const far = series.points.map((point) => Math.abs(Math.log(point[0] / iteration)));
      const nearest = series.points[far.indexOf(Math.min(...far))];
      dots[i].setAttribute("cx", chart.x(nearest[0]));
      dots[i].setAttribute("cy", chart.y(nearest[1]));
    });
  }

  go(now);
}

// ---- compare: two images under one divider -----------------------------------------------------

function compare(root, data) {
  const enlarged = Math.max(1, Math.round(384 / Math.max(data.width, data.height)));
  const names = element(root, "div", { class: "dip-names" });
  for (const name of data.names) element(names, "span", {}, name);
  const frame = element(root, "div", { class: "dip-divider" });
  const stage = element(frame, "div");
  const [left, right] = data.images.map((source, i) =>
    element(null, "img", { src: source, alt: data.names[i], draggable: "false" }));
  stage.append(right, left); // the left one lies on top, and is cut off at the divider
  const line = element(stage, "hr");
  const bar = element(root, "div", { class: "dip-bar" });
  const slider = element(bar, "input", {
    type: "range", min: 0, max: 100, step: 0.5, value: 50,
    "aria-label": `divider: ${data.names[0]} on its left, ${data.names[1]} on its right`,
  });
  const choice = element(bar, "select", { "aria-label": "zoom" });
  for (const factor of [1, 2, 4, 8]) element(choice, "option", { value: factor }, `zoom ${factor}×`);

  function go(share) {
    slider.value = share;
    left.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    line.style.left = share + "%";
  }
  function resize() {
    const middle = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    const before = stage.clientWidth || 1;
    stage.style.width = data.width * enlarged * choice.value + "px";
    stage.style.height = data.height * enlarged * choice.value + "px";
    const grown = stage.clientWidth / before;
    frame.scrollTo(middle[0] * grown - frame.clientWidth / 2, middle[1] * grown - frame.clientHeight / 2);
  }
  const drag = (event) => {
    if (!(event.buttons & 1)) return;
    const box = stage.getBoundingClientRect();
    go(clamp((100 * (event.clientX - box.left)) / box.width, 0, 100));
  };
  stage.onpointerdown = (event) => { stage.setPointerCapture(event.pointerId); drag(event); };
  stage.onpointermove = drag;
  slider.oninput = () => go(Number(slider.value));
  choice.onchange = resize;
  for (const part of [frame, names, bar]) {
    part.style.width = Math.max(data.width * enlarged, 320) + "px";
    part.style.maxWidth = "100%";
  }
  frame.style.width = data.width * enlarged + "px";
  resize();
  go(50);
}

// A page may show the same output twice, and a script may run before its element is there.
function start(kind, key, data, patience = 50) {
  const waiting = document.querySelectorAll(`.dip[data-key="${key}"]:not([data-live])`);
  for (const root of waiting) {
    root.dataset.live = "true";
    root.replaceChildren();
    ({ scrub, compare })[kind](root, structuredClone(data));
  }
  if (!waiting.length && patience) setTimeout(() => start(kind, key, data, patience - 1), 100);
}
