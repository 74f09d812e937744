// An image on which the reader paints a hole. Runs inside anywidget.

function load(source, then) {
  const image = new Image();
  image.onload = () => then(image);
  image.src = source;
}

function render({ model, el }) {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  const hole = document.createElement("canvas"); // the painted hole, in pixels of the image
  const paint = hole.getContext("2d");
  const cursor = { x: 0, y: 0, shown: false };
  let image = null, scale = 1, last = null; // last: the current end of the stroke being drawn

  canvas.tabIndex = 0;
  canvas.className = "dip-mark";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label",
    "Paint the hole with the mouse; or move with the arrow keys and paint with the space bar");
  Object.assign(canvas.style, { cursor: "crosshair", touchAction: "none", maxWidth: "100%" });
  el.append(canvas);

  function show() {
    load(model.get("image"), (loaded) => {
      image = loaded;
      scale = Math.max(1, Math.floor(256 / Math.max(image.width, image.height)));
      [canvas.width, canvas.height] = [image.width * scale, image.height * scale];
      [hole.width, hole.height] = [image.width, image.height]; // this also clears the canvas
      [cursor.x, cursor.y] = [image.width / 2, image.height / 2];
      draw();
      load(model.get("hole"), (kept) => { paint.drawImage(kept, 0, 0); draw(); });
    });
  }

  function draw() {
    if (!image) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 0.75;
    context.drawImage(hole, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
    if (!cursor.shown) return;
    context.beginPath();
    context.arc(cursor.x * scale, cursor.y * scale, (model.get("brush") / 2) * scale, 0, 7);
    context.strokeStyle = "#0072B2";
    context.lineWidth = 2;
    context.stroke();
  }

  function stroke(from, to) {
    paint.lineCap = "round";
    paint.lineWidth = model.get("brush");
    paint.strokeStyle = "#D55E00";
    paint.beginPath();
    paint.moveTo(from.x, from.y);
    paint.lineTo(to.x + 0.01, to.y); // a line of length zero would not be drawn
    paint.stroke();
  }

  function send() {
    model.set("hole", hole.toDataURL("image/png"));
    model.save_changes();
  }

  function moveTo(x, y) {
    Object.assign(cursor, { x, y, shown: true });
    if (last) {
      stroke(last, cursor);
      last = { x, y };
    }
    draw();
  }

  function follow(event) {
    const box = canvas.getBoundingClientRect();
    moveTo(((event.clientX - box.left) / box.width) * hole.width,
           ((event.clientY - box.top) / box.height) * hole.height);
  }

  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    follow(event);
    last = { ...cursor };
    follow(event);
  };
  canvas.onpointermove = follow;
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (last) send();
    last = null;
  };
  canvas.onpointerleave = () => { cursor.shown = false; draw(); };
  canvas.onkeydown = (event) => {
    const step = model.get("brush") / 2;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      moveTo(Math.min(Math.max(cursor.x + x, 0), hole.width),
             Math.min(Math.max(cursor.y + y, 0), hole.height));
    } else if (event.key === " ") {
      stroke(cursor, cursor);
      draw();
      send();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  model.on("change:image", show);
  model.on("change:hole", () => {
    if (model.get("hole")) return;
    paint.clearRect(0, 0, hole.width, hole.height);
    draw();
  });
  show();
}

export default { render };
