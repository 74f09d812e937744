// A button that sends a file to the kernel in pieces. A notebook server silently drops messages
// above its limit (10 MiB in Jupyter), and a hosted server's limit cannot be changed.

const PIECE = 2 ** 20; // bytes
const PATIENCE = 10_000; // the page reports a missing answer after this many milliseconds

function megabytes(bytes) {
  return Math.ceil(bytes / 1e5) / 10;
}

function render({ model, el }) {
  const [button, icon, input, note] = ["button", "i", "input", "div"].map((tag) => document.createElement(tag));
  let upload = null; // the upload in progress

  button.className = "jupyter-widgets jupyter-button widget-button";
  icon.className = "fa fa-upload";
  button.append(icon, model.get("description"));
  Object.assign(input, { type: "file", accept: model.get("accept"), hidden: true });
  note.className = "dip-upload-note";
  note.setAttribute("role", "status");
  note.style.margin = "0 2px 4px";
  el.append(button, input, note);

  const show = () => { note.textContent = model.get("note"); };
  const say = (words, colour = "inherit") => {
    note.style.color = colour;
    model.set("note", words);
  };
  const refuse = (words) => {
    say(words, "#D55E00");
    model.save_changes(); // so that the kernel can clear the note later
  };

  button.onclick = () => input.click();
  input.onchange = () => {
    const file = input.files[0], most = model.get("largest");
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    upload = null;
    if (file.size > most) {
      refuse(`${file.name} has ${megabytes(file.size)} MB, and at most ${megabytes(most)} MB can be `
        + "uploaded: make the image smaller, or save it as a JPEG.");
    } else {
      upload = { id: `${Date.now()}-${Math.random()}`, file };
      send(upload);
    }
  };

  async function send(mine) {
    const { id, file } = mine;
    let at = 0;
    do {
      const words = `Sending ${file.name}: ${megabytes(at)} of ${megabytes(file.size)} MB`;
      let piece;
      try {
        piece = await file.slice(at, at + PIECE).arrayBuffer();
      } catch (error) {
        if (upload === mine) refuse(`${file.name} cannot be read: ${error.message}`);
        return;
      }
      if (upload !== mine) return; // another file was chosen meanwhile
      say(words);
      const waiting = setTimeout(() => {
        if (upload === mine) say(`${words}; the kernel is busy, or has stopped`);
      }, PATIENCE);
      const answered = new Promise((answer) => { mine.answer = answer; });
      model.send({ id, name: file.name, type: file.type, size: file.size, at }, undefined, [piece]);
      at = await answered;
      clearTimeout(waiting);
    } while (upload === mine && at < file.size);
    if (upload === mine) say("");
  }

  const heard = (message) => {
    if (upload && message.id === upload.id) upload.answer(message.received);
  };
  model.on("msg:custom", heard);
  model.on("change:note", show);
  show();
  return () => {
    upload = null;
    model.off("msg:custom", heard);
    model.off("change:note", show);
  };
}

export default { render };
