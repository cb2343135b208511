"use strict";
(() => {
  const table = document.getElementById("table");
  const root = document.documentElement;
  for (const each of document.querySelectorAll("[data-needs-script]")) each.hidden = false;
  if (!table) return;

  const filter = document.getElementById("filter");
  const found = document.getElementById("found");
  const bodies = [...table.tBodies];
  // Small screens hide columns, and a cell that spans more than there are would make new ones.
  const columns = () => [...table.tHead.rows[0].cells].filter((cell) => cell.offsetWidth).length;
  addEventListener("resize", () => {
    for (const cell of table.querySelectorAll(".detail > td")) cell.colSpan = columns();
  });
  const packed = new Map();
  for (const each of table.querySelectorAll("template")) {
    packed.set(each.dataset.of, each);
    each.remove(); // rows are moved when they are sorted, and these need not be
  }

  // Each class's name becomes a button that opens it.
  for (const body of bodies) {
    const name = body.querySelector(".name");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "name";
    button.id = name.id;
    button.setAttribute("aria-expanded", "false");
    button.append(...name.childNodes);
    name.replaceWith(button);
  }
  const names = bodies.map((body) => body.querySelector("th").textContent.trim().toLocaleLowerCase());
  const place = new Map(bodies.map((body, number) => [body, number]));

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  const buttonOf = (body) => body.querySelector("button.name");
  const isOpen = (body) => buttonOf(body).getAttribute("aria-expanded") === "true";

  async function open(body) {
    const button = buttonOf(body);
    if (isOpen(body)) return;
    button.setAttribute("aria-expanded", "true");
    const row = document.createElement("tr");
    row.className = "detail";
    row.id = `detail-${body.dataset.class}`;
    const cell = row.insertCell();
    cell.colSpan = columns();
    button.setAttribute("aria-controls", row.id);
    body.append(row);
    if (!("DecompressionStream" in window)) {
      cell.textContent = "This browser cannot unpack the examples: Chrome 80, Firefox 113 and Safari 16.4 can.";
      return;
    }
    cell.innerHTML = await unpack(packed.get(body.dataset.class).content.textContent);
  }

  function close(body) {
    const button = buttonOf(body);
    button.setAttribute("aria-expanded", "false");
    button.removeAttribute("aria-controls");
    const row = body.querySelector("tr.detail");
    if (row) row.remove();
  }

  // What is open is in the address, so that "back" closes it and a link opens it.
  const addressed = () => {
    const match = /^#class-(-?\d+)$/.exec(location.hash);
    return match ? bodies.find((body) => body.dataset.class === match[1]) : undefined;
  };
  let shown;
  async function follow() {
    const wanted = addressed();
    if (shown && shown !== wanted) close(shown);
    shown = wanted;
    if (wanted) {
      wanted.hidden = false;
      await open(wanted);
    }
  }
  addEventListener("popstate", follow);

  function toggle(body) {
    if (isOpen(body)) {
      close(body);
      if (shown === body) {
        shown = undefined;
        history.pushState(null, "", "#classes");
      }
    } else {
      // Several may be open at once; the address names the last.
      history.pushState(null, "", `#class-${body.dataset.class}`);
      shown = body;
      open(body);
    }
  }

  table.addEventListener("click", (event) => {
    const body = event.target.closest("tbody");
    const sorter = event.target.closest("thead button");
    if (sorter) sort(sorter.closest("th"));
    else if (body && !event.target.closest(".detail, a")) toggle(body);
  });

  for (const head of table.tHead.rows[0].cells) {
    if (!head.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
  }

  function sort(head) {
    const numeric = head.dataset.sort === "number";
    const first = numeric ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort");
    const next = now === first ? (numeric ? "ascending" : "descending") : first;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", next);
    arrange();
  }

  // Puts the rows into the order that the head says.
  function arrange() {
    const head = table.tHead.querySelector("[aria-sort]");
    if (!head) return;
    const numeric = head.dataset.sort === "number";
    const sign = head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
    const collator = new Intl.Collator(undefined, { numeric: true });
    const keys = new Map(bodies.map((body) => {
      const text = body.rows[0].cells[head.cellIndex].dataset.value;
      return [body, numeric ? (text === "" ? NaN : Number(text)) : text];
    }));
    const compare = (a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (numeric) {
        const absent = Number.isNaN(x) - Number.isNaN(y); // what is undefined is last either way
        return absent || sign * (x - y) || place.get(a) - place.get(b);
      }
      return sign * collator.compare(x, y) || place.get(a) - place.get(b);
    };
    table.append(...[...bodies].sort(compare));
  }

  let part; // of the chosen slice: rows by class; undefined for all examples

  function narrow() {
    const words = filter.value.trim().toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    bodies.forEach((body, number) => {
      const kept = words.every((word) => names[number].includes(word)) && (!part || part.has(body.dataset.class));
      body.hidden = !kept;
      count += kept;
    });
    const all = bodies.length;
    found.textContent = words.length || part
      ? `${count.toLocaleString("en")} of ${all.toLocaleString("en")} classes`
      : `${all.toLocaleString("en")} ${all === 1 ? "class" : "classes"}`;
  }

  // A slice: the numbers of each row become those of some of its examples, and come back.
  const whole = new Map();
  const slice = document.getElementById("slice");
  const hasAccuracy = table.dataset.accuracy === "yes";

  function fill(cell, text, value) {
    cell.textContent = text;
    cell.dataset.value = value ?? "";
  }

  function drawDot(cell, [text, value, interval, x, low, high]) {
    const dot = cell.querySelector("svg");
    for (const each of dot.querySelectorAll("path, circle")) each.remove();
    const add = (name, attributes) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, setting] of Object.entries(attributes)) shape.setAttribute(key, setting);
      dot.append(shape);
    };
    const middle = dot.getAttribute("height") / 2;
    if (x !== null && low !== null && high !== null) add("path", { d: `M${low} ${middle}H${high}` });
    if (x !== null) add("circle", { cx: x, cy: middle, r: table.dataset.radius });
    cell.querySelector(".value").textContent = text;
    cell.dataset.value = value ?? "";
    cell.title = interval ? `${text}, interval ${interval}` : "";
  }

  function showPart(body, [, n, count, accuracy, share, picture, statistics]) {
    const cells = body.rows[0].cells;
    let column = 1;
    fill(cells[column++], n, count);
    if (hasAccuracy) fill(cells[column++], accuracy, share);
    const mean = cells[column++];
    if (picture) mean.innerHTML = picture;
    for (const each of statistics) drawDot(cells[column++], each);
  }

  async function choose(number) {
    const template = document.querySelector(`template[data-slice="${number}"]`);
    const rows = template ? JSON.parse(await unpack(template.content.textContent)) : undefined;
    if (slice.value !== number) return; // another one was chosen meanwhile
    for (const [row, original] of whole) {
      original.prepend(row.cells[0]); // the name, with its button as it is now
      row.replaceWith(original);
    }
    whole.clear();
    part = rows && new Map(rows.map((row) => [String(row[0]), row]));
    for (const body of part ? bodies : []) {
      const row = part.get(body.dataset.class);
      if (!row) continue;
      const original = body.rows[0];
      const copy = original.cloneNode(true);
      whole.set(copy, original);
      original.replaceWith(copy);
      copy.cells[0].replaceWith(original.cells[0]);
      showPart(body, row);
    }
    table.classList.toggle("sliced", Boolean(part));
    document.getElementById("about-slice").hidden = !part;
    narrow();
    arrange();
  }
  if (slice) slice.addEventListener("change", () => choose(slice.value));
  filter.addEventListener("input", narrow);

  function view(name) {
    root.dataset.view = name;
    const radio = document.querySelector(`input[name="view"][value="${name}"]`);
    if (radio) radio.checked = true;
  }
  document.querySelector(".switch")?.addEventListener("change", (event) => view(event.target.value));

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === filter;
    if (event.key === "Escape" && typing) {
      filter.value = "";
      narrow();
      filter.blur();
    } else if (typing) {
      if (event.key === "ArrowDown") move(event, 1);
    } else if (event.key === "/") {
      event.preventDefault();
      filter.focus();
    } else if (root.dataset.view && ["1", "2", "3"].includes(event.key)) {
      view(["input", "overlay", "map"][event.key - 1]);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (event.target.closest("#table, #filter")) move(event, event.key === "ArrowDown" ? 1 : -1);
    }
  });

  function move(event, step) {
    const visible = [...table.tBodies].filter((body) => !body.hidden);
    const here = visible.indexOf(event.target.closest("tbody"));
    const next = visible[here < 0 ? 0 : here + step];
    if (next) {
      event.preventDefault();
      buttonOf(next).focus();
    }
  }

  follow().then(() => {
    const wanted = addressed();
    if (wanted) wanted.scrollIntoView();
  });
})();
