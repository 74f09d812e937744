// An image to paint on: what is painted is the hole. Runs inside anywidget.

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  const hole = document.createElement("canvas"); // what was painted, in the image's own pixels
  const context = canvas.getContext("2d");
  const cursor = { x: 0, y: 0, shown: false };
  let image = null, scale = 1, drawing = false, last = null;

  canvas.tabIndex = 0;
  canvas.className = "dip-mark";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label",
    "Paint the hole with the mouse; or move with the arrow keys and paint with the space bar");
  Object.assign(canvas.style, { cursor: "crosshair", touchAction: "none", maxWidth: "100%" });
  el.append(canvas);

  function load() {
    const loaded = new Image();
    loaded.onload = () => {
      image = loaded;
      scale = Math.max(1, Math.floor(256 / Math.max(loaded.width, loaded.height)));
      canvas.width = loaded.width * scale;
      canvas.height = loaded.height * scale;
      hole.width = loaded.width;
      hole.height = loaded.height;
      Object.assign(cursor, { x: loaded.width / 2, y: loaded.height / 2 });
      restore();
    };
    loaded.src = model.get("image");
  }

  function restore() {
    hole.getContext("2d").clearRect(0, 0, hole.width, hole.height);
    const kept = model.get("hole");
    if (!kept) return draw();
    const loaded = new Image();
    loaded.onload = () => { hole.getContext("2d").drawImage(loaded, 0, 0); draw(); };
    loaded.src = kept;
  }

  function draw() {
    if (!image) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 0.75;
    context.drawImage(hole, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
    if (cursor.shown) {
      context.beginPath();
      context.arc(cursor.x * scale, cursor.y * scale, (model.get("brush") / 2) * scale, 0, 7);
      context.strokeStyle = "#0072B2";
      context.lineWidth = 2;
      context.stroke();
    }
  }

  function paint(from, to) {
    const painted = hole.getContext("2d");
    painted.lineCap = "round";
    painted.lineWidth = model.get("brush");
    painted.strokeStyle = "#D55E00";
    painted.beginPath();
    painted.moveTo(from.x, from.y);
    painted.lineTo(to.x + 0.01, to.y);
    painted.stroke();
    draw();
  }

  function send() {
    model.set("hole", hole.toDataURL("loaded/png"));
    model.save_changes();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * hole.width,
             y: ((event.clientY - box.top) / box.height) * hole.height };
  }

  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    last = place(event);
    paint(last, last);
  };
  canvas.onpointermove = (event) => {
    Object.assign(cursor, place(event), { shown: true });
    if (drawing) {
      paint(last, cursor);
      last = { ...cursor };
    } else draw();
  };
  canvas.onpointerup = () => {
    if (drawing) send();
    drawing = false;
  };
  canvas.onpointerleave = () => { cursor.shown = false; draw(); };
  canvas.onkeydown = (event) => {
    const step = model.get("brush") / 2;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      cursor.x = Math.min(Math.max(cursor.x + moves[event.key][0], 0), hole.width);
      cursor.y = Math.min(Math.max(cursor.y + moves[event.key][1], 0), hole.height);
      cursor.shown = true;
      draw();
    } else if (event.key === " ") {
      paint(cursor, cursor);
      send();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  model.on("change:image", load);
  model.on("change:hole", () => { if (!model.get("hole")) restore(); });
  load();
}

export default { render };
