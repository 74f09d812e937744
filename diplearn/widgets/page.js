// The script of the pages that scrub(), compare() and impedance() make: page.py writes the markup,
// and this script makes it interactive. It needs no kernel, no internet connection and no library.

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// Return an image that is decoded once and can then be drawn each time the slider moves.
function loaded(source) {
  const image = new Image();
  image.src = source;
  image.ready = image.decode().catch(() => {});
  return image;
}

// ---- scrub: images under a slider, with charts -------------------------------------------------

function scrub(root, data) {
  const one = (selector) => root.querySelector(selector);
  const all = (selector) => [...root.querySelectorAll(selector)];
  const slider = one("input"), play = one(".dip-play"), shown = one("select"), whole = one(".dip-whole");
  const last = data.positions.length - 1;
  const view = { zoom: 1, x: 0.5, y: 0.5 }; // centre of the visible part, in fractions of the image
  const stills = {}; // title -> image that can be subtracted from the moving images
  let now = data.start, band = null, timer = null;

  const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  scratch.canvas.width = data.width;
  scratch.canvas.height = data.height;

  const panes = all("figure").map((figure, i) => {
    const { title, frames, captions, subtracted } = data.panes[i];
    const images = frames.map(loaded);
    if (subtracted) stills[title] = images[0];
    const [canvas, words] = ["canvas", "span"].map((tag) => figure.querySelector(tag));
    return { title, images, captions, canvas, words };
  });
  const charts = all("svg").map((svg, i) => ({
    svg, paths: data.charts[i], parts: svg.querySelectorAll(".dip-moves"),
  }));

  // -- the iteration --

  function go(position) {
    now = clamp(Math.round(position), 0, last);
    const iteration = data.positions[now];
    slider.value = now;
    slider.setAttribute("aria-valuetext", `iteration ${iteration}`);
    one("output").textContent = `iteration ${iteration} of ${data.positions[last]}`;
    for (const { title, captions, canvas, words } of panes) {
      if (captions) words.textContent = captions[now];
      canvas.setAttribute("aria-label", `${title}, ${words.textContent}`);
    }
    for (const { paths, parts } of charts) {
      paths.forEach((path, i) => parts[i].setAttribute("transform", `translate(${path[now]})`));
    }
    drawAll();
  }

  slider.oninput = () => go(Number(slider.value));
  for (const jump of all("[data-at]")) jump.onclick = () => go(Number(jump.dataset.at));
  for (const { svg, paths: [line] } of charts) {
    svg.onclick = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const far = line.map((place) => Math.abs(place[0] - x));
      go(far.indexOf(Math.min(...far)));
    };
  }
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

  // -- the images --

  function drawAll() {
    panes.forEach(draw);
  }

  function draw(pane) {
    const image = pane.images[Math.min(now, pane.images.length - 1)];
    if (!image.complete) return void image.ready.then(() => draw(pane));
    const { canvas } = pane, context = canvas.getContext("2d");
    const reference = pane.captions && stills[shown.value];
    const source = reference ? difference(image, reference) : image;
    const width = source.naturalWidth || source.width, height = source.naturalHeight || source.height;
    context.imageSmoothingEnabled = false;
    context.drawImage(
      source, (view.x - 0.5 / view.zoom) * width, (view.y - 0.5 / view.zoom) * height,
      width / view.zoom, height / view.zoom, 0, 0, canvas.width, canvas.height,
    );
    if (!band || band.pane !== pane) return;
    const [a, b, c, d] = band.box;
    for (const [colour, thickness] of [["#fff", 3], ["#0072B2", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness;
      context.strokeRect(a * canvas.width, b * canvas.height, (c - a) * canvas.width, (d - b) * canvas.height);
    }
  }

  // Return 4 times the difference; grey means no difference. Every call returns the same canvas.
  function difference(image, reference) {
    const [made, other] = [image, reference].map((each) => {
      scratch.drawImage(each, 0, 0);
      return scratch.getImageData(0, 0, data.width, data.height);
    });
    for (let i = 0; i < made.data.length; i++) {
      // The array (Uint8ClampedArray) clamps the values.
      if (i % 4 !== 3) made.data[i] = 127.5 + 4 * (made.data[i] - other.data[i]);
    }
    scratch.putImageData(made, 0, 0);
    return scratch.canvas;
  }

  // -- zoom: the pointer draws a rectangle (band), then drags the image; the keyboard works, too --

  function zoom(factor, x, y) {
    view.zoom = clamp(factor, 1, 16);
    const half = 0.5 / view.zoom;
    view.x = clamp(x, half, 1 - half);
    view.y = clamp(y, half, 1 - half);
    whole.hidden = view.zoom === 1;
    drawAll();
  }

  function listen(pane) {
    const { canvas } = pane;
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
      const [x, y] = place(event), [left, top] = from.at;
      if (view.zoom > 1) {
        zoom(view.zoom, from.x - (x - left) / view.zoom, from.y - (y - top) / view.zoom);
      } else {
        band = { pane, box: [left, top, x, y] };
        draw(pane);
      }
    };
    canvas.onpointerup = () => {
      const [a, b, c, d] = band ? band.box : [0, 0, 0, 0];
      const size = Math.max(Math.abs(c - a), Math.abs(d - b));
      from = band = null;
      if (size > 0.03) zoom(1 / size, (a + c) / 2, (b + d) / 2);
      else draw(pane);
    };
    canvas.onkeydown = (event) => {
      const step = 0.1 / view.zoom;
      const moves = {
        ArrowLeft: [1, -step, 0], ArrowRight: [1, step, 0], ArrowUp: [1, 0, -step],
        ArrowDown: [1, 0, step], "+": [2, 0, 0], "-": [0.5, 0, 0],
      };
      if (!moves[event.key]) return;
      const [factor, x, y] = moves[event.key];
      zoom(view.zoom * factor, view.x + x, view.y + y);
      event.preventDefault();
    };
  }

  panes.forEach(listen);
  whole.onclick = () => zoom(1, 0.5, 0.5);
  shown.onchange = drawAll;
  go(now);
}

// ---- compare: two images under one divider -----------------------------------------------------

function compare(root) {
  const [slider, choice, frame] = ["input", "select", ".dip-divider"].map((part) => root.querySelector(part));
  const stage = frame.firstElementChild;

  function go(share) {
    slider.value = share;
    stage.style.setProperty("--share", `${share}%`);
  }
  function drag(event) {
    if (!(event.buttons & 1)) return;
    const box = stage.getBoundingClientRect();
    go(clamp((100 * (event.clientX - box.left)) / box.width, 0, 100));
  }
  stage.onpointerdown = (event) => { stage.setPointerCapture(event.pointerId); drag(event); };
  stage.onpointermove = drag;
  slider.oninput = () => go(Number(slider.value));
  choice.onchange = () => { // zoom around the centre of the visible part
    const half = [frame.clientWidth / 2, frame.clientHeight / 2], before = stage.clientWidth;
    const middle = [frame.scrollLeft + half[0], frame.scrollTop + half[1]];
    stage.style.setProperty("--zoom", choice.value);
    const grown = stage.clientWidth / before;
    frame.scrollTo(middle[0] * grown - half[0], middle[1] * grown - half[1]);
  };
}

// A page may contain the same output twice, and a script may run before its element exists.
function start(kind, key, data, patience = 50) {
  const waiting = document.querySelectorAll(`.dip[data-key="${key}"]:not([data-live])`);
  for (const root of waiting) {
    root.dataset.live = "true";
    root.innerHTML = data.markup;
    ({ scrub, compare })[kind](root, data);
  }
  if (!waiting.length && patience) setTimeout(() => start(kind, key, data, patience - 1), 100);
}
