// The similarity matrix as a heat map, and the graph.

/** Class that gives a group its colour. */
function colourOf(group, index) {
  return group.kind === "other" ? `group other${index % 6}` : `group ${group.kind}`;
}

const rgbOf = (name) => {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
};
const mix = (from, to, share) => from.map((value, i) => Math.round(value + (to[i] - value) * Math.min(1, Math.max(0, share))));

/** Colour of a cosine: grey-blue below the threshold, green from it on, so that edges of the graph stand out. */
function heat(threshold) {
  const ground = rgbOf("--panel"), below = rgbOf("--impostor"), above = rgbOf("--genuine");
  return (value) =>
    value >= threshold
      ? mix(ground, above, 0.35 + (0.65 * (value - threshold)) / Math.max(1 - threshold, 0.01))
      : mix(ground, below, 0.06 + (0.4 * Math.max(0, value)) / Math.max(threshold, 0.01));
}

/**
 * Canvas of the matrix in the order of the photos on the screen.
 * @param view a case. @param order its slots as shown. @param side in CSS pixels. @param onhover, onpick called with
 * two slots. @returns {element, mark(slot)}
 */
function heatMap(view, order, side, onhover, onpick) {
  const size = order.length, ratio = window.devicePixelRatio || 1;
  const cell = Math.max(2, Math.floor(side / size)), width = cell * size;
  const canvas = h("canvas", { width: width * ratio, height: width * ratio, role: "img", "aria-label": "Similarity of every two photos" });
  canvas.style.width = canvas.style.height = `${width}px`;
  const paper = canvas.getContext("2d");
  const value = (row, column) => view.matrix[order[row] * size + order[column]];
  const ends = view.groups.map((group) => group.slots.length).reduce((all, n) => [...all, (all.at(-1) ?? 0) + n], []).slice(0, -1);

  function mark(slot) {
    const colour = heat(view.threshold), ink = rgbOf("--ink"), ground = rgbOf("--panel");
    paper.setTransform(ratio, 0, 0, ratio, 0, 0);
    paper.textAlign = "center";
    paper.textBaseline = "middle";
    paper.font = `${Math.min(12, cell * 0.36)}px system-ui, sans-serif`;
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const v = value(row, column), shade = v === null ? rgbOf("--wash") : colour(v);
        paper.fillStyle = `rgb(${shade})`;
        paper.fillRect(column * cell, row * cell, cell - (cell > 8), cell - (cell > 8));
        if (cell < 26 || row === column) continue;
        paper.fillStyle = `rgb(${contrast(shade, ink, ground)})`;
        paper.fillText(cosine(v), (column + 0.5) * cell, (row + 0.5) * cell + 0.5);
      }
    }
    paper.fillStyle = `rgb(${ink})`;
    for (const end of ends) {
      paper.fillRect(end * cell - 1, 0, 1, width);
      paper.fillRect(0, end * cell - 1, width, 1);
    }
    const at = order.indexOf(slot) * cell;
    paper.strokeStyle = `rgb(${ink})`;
    paper.lineWidth = 2;
    paper.strokeRect(1, at + 0.5, width - 2, cell - 2);
  }

  const under = (event) => {
    const column = Math.floor(event.offsetX / cell), row = Math.floor(event.offsetY / cell);
    return row >= 0 && column >= 0 && row < size && column < size ? [order[row], order[column], value(row, column)] : null;
  };
  canvas.addEventListener("mousemove", (event) => onhover(under(event)));
  canvas.addEventListener("mouseleave", () => onhover(null));
  canvas.addEventListener("click", (event) => under(event) && onpick(under(event)[0]));
  return { element: canvas, mark };
}

/** Of two colours the one that can be read on `shade`. */
function contrast(shade, ink, ground) {
  const light = ([r, g, b]) => 0.3 * r + 0.59 * g + 0.11 * b;
  return Math.abs(light(shade) - light(ink)) > Math.abs(light(shade) - light(ground)) ? ink : ground;
}

/** The graph as SVG: photos in rings of their group's colour, edges the thicker the more similar. */
function graph(view, order, onpick) {
  const width = 340, height = 270, size = order.length;
  const radius = Math.min(20, Math.max(5, 72 / Math.sqrt(size)));
  const margin = radius + 4;
  const at = (slot) => {
    const [x, y] = view.graph.nodes[slot];
    return [margin + x * (width - 2 * margin), margin + y * (height - 2 * margin)];
  };
  const lines = view.graph.edges.map(([a, b]) => {
    const [x1, y1] = at(a), [x2, y2] = at(b);
    const strength = (view.matrix[a * size + b] - view.threshold) / Math.max(1 - view.threshold, 0.01);
    const bridge = view.graph.bridges.some(([c, d]) => (a === c && b === d) || (a === d && b === c));
    return s("line", { x1, y1, x2, y2, class: bridge ? "bridge" : null, "stroke-width": 0.7 + 2.5 * strength, "stroke-opacity": 0.25 + 0.6 * strength });
  });
  const nodes = new Map();
  view.groups.forEach((group, index) => {
    for (const slot of group.slots) nodes.set(slot, node(view.photos[slot], ...at(slot), radius, colourOf(group, index), () => onpick(slot)));
  });
  const clip = s("clipPath", { id: "round", clipPathUnits: "objectBoundingBox" }, s("circle", { cx: 0.5, cy: 0.5, r: 0.5 }));
  const label = `Graph: ${count(size, "photo", "photos")}, ${count(lines.length, "edge", "edges")}`;
  const element = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "graph" },
    s("defs", null, clip), s("g", { class: "edges" }, lines), order.map((slot) => nodes.get(slot)));
  const mark = (slot) => {
    for (const [other, drawn] of nodes) drawn.classList.toggle("selected", other === slot);
    element.append(nodes.get(slot)); // on top
  };
  return { element, mark };
}

function node(photo, x, y, radius, colour, onclick) {
  const inner = radius - 2;
  return s("g", { class: `node ${colour}`, transform: `translate(${x} ${y})`, onclick },
    s("circle", { r: radius }),
    radius > 7 && s("image", { href: photo.small, x: -inner, y: -inner, width: 2 * inner, height: 2 * inner, preserveAspectRatio: "xMidYMid slice", "clip-path": "url(#round)" }),
    s("title", null, shown(photo.photo)));
}
