// One person on the screen: photos by component, the chosen photo beside what it is compared with, heat map, graph.

const VERDICTS = { kept: "kept", moved: "moved", dropped: "dropped" };

class CaseScreen {
  /** @param view a case of the store. @param actions {decide(slots, decision, to), move(slots), accept(), help} */
  constructor(view, actions) {
    this.view = view;
    this.actions = actions;
    this.order = view.groups.flatMap((group) => group.slots);
    this.cards = new Map();
    this.detail = h("aside", { class: "detail", "aria-label": "Chosen photo" });
    this.footer = h("div", { class: "footer" });
    this.map = heatMap(view, this.order, 296, (cell) => this.#tell(cell), (slot) => this.select(slot));
    this.graph = graph(view, this.order, (slot) => this.select(slot));
    this.told = h("p", { class: "told" });
    this.element = h("div", { class: "case" }, this.#photos(), this.detail, this.#charts(), this.footer);
    for (const slot of this.order) this.#paint(slot);
    this.#paintFooter();
    this.#tell(null);
    this.select(this.nextWaiting(-1) ?? this.order[0], false);
  }

  get waiting() {
    return this.order.filter((slot) => this.view.photos[slot].waits && !this.view.decided[slot]);
  }

  /** The next photo to decide after a position in the order, from the start again; undefined if there is none. */
  nextWaiting(slot) {
    const after = this.order.indexOf(slot);
    return this.waiting.find((other) => this.order.indexOf(other) > after) ?? this.waiting[0];
  }

  select(slot, scroll = true) {
    this.cards.get(this.selected)?.setAttribute("aria-selected", "false");
    this.selected = slot;
    const card = this.cards.get(slot);
    card.setAttribute("aria-selected", "true");
    if (scroll) card.scrollIntoView({ block: "nearest" });
    this.map.mark(slot);
    this.graph.mark(slot);
    this.#paintDetail();
  }

  step(by) {
    const at = this.order.indexOf(this.selected) + by;
    if (at >= 0 && at < this.order.length) this.select(this.order[at]);
  }

  /** To the photo above or below on the screen. */
  stepRow(by) {
    const here = this.cards.get(this.selected).getBoundingClientRect();
    const away = (card) => {
      const box = card.getBoundingClientRect();
      const rows = (box.top - here.top) * by;
      return rows < here.height / 3 ? Infinity : rows * 4 + Math.abs(box.left - here.left);
    };
    const nearest = this.order.reduce((best, slot) => (away(this.cards.get(slot)) < away(this.cards.get(best)) ? slot : best));
    if (away(this.cards.get(nearest)) < Infinity) this.select(nearest);
  }

  /** All photos of the chosen one's component. */
  component() {
    const { component } = this.view.photos[this.selected];
    const group = this.view.groups.find(({ slots }) => slots.includes(this.selected));
    return component === null ? group.slots : group.slots.filter((slot) => this.view.photos[slot].component === component);
  }

  /** Show decisions that were just made. */
  show(slots) {
    for (const slot of slots) this.#paint(slot);
    this.#paintFooter();
    this.#paintDetail();
  }

  #photos() {
    const { view } = this;
    const more = view.photos_total > this.order.length;
    const total = more ? `${this.order.length} of ${count(view.photos_total, "photo", "photos")} shown` : count(this.order.length, "photo", "photos");
    return h("div", { class: "photos" },
      h("div", { class: "about" }, h("h1", null, h("bdi", null, shown(view.person))),
        h("p", { class: "headline" }, view.headline, " ", h("span", { class: "soft" }, total))),
      view.groups.map((group, index) => this.#group(group, index)));
  }

  #group(group, index) {
    return h("div", { class: `block ${colourOf(group, index)}` },
      h("h2", null, h("span", { class: "swatch" }), titleOf(group), " ", h("span", { class: "soft" }, noteOf(group))),
      h("div", { class: "cards", role: "listbox", "aria-label": titleOf(group) }, group.slots.map((slot) => this.#card(slot))));
  }

  #card(slot) {
    const photo = this.view.photos[slot];
    const beside = photo.waits && photo.suggested_picture;
    const card = h("div", { class: `photo${beside ? " pairwise" : ""}`, role: "option", "aria-selected": "false", "data-slot": slot, onclick: () => this.select(slot) },
      h("div", { class: "faces" }, picture(photo.small, shown(photo.photo)), beside && picture(photo.suggested_picture, `suggested: ${shown(photo.suggested)}`)),
      h("div", { class: "verdict" }),
      h("div", { class: "numbers" }, h("span", { title: "Cosine to the mean of the kept photos" }, `own ${cosine(photo.own_similarity)}`),
        photo.waits && photo.suggested !== null && h("span", { title: "Cosine to the mean of the suggested person" }, `other ${cosine(photo.suggested_similarity)}`),
        photo.fake && h("span", null, "fake")));
    this.cards.set(slot, card);
    return card;
  }

  #paint(slot) {
    const card = this.cards.get(slot), photo = this.view.photos[slot], decided = this.view.decided[slot];
    card.classList.remove("kept", "moved", "dropped", "waits");
    card.classList.add(decided ? VERDICTS[decided.decision] : photo.waits ? "waits" : "settled");
    const text = decided ? verdictText(decided) : photo.waits ? `${verdictText(photo.propose)}?` : "";
    card.querySelector(".verdict").replaceChildren(h("bdi", { title: text }, text));
  }

  #paintDetail() {
    const { view, selected } = this, photo = view.photos[selected], decided = view.decided[selected];
    const typical = view.typical !== null && view.typical !== selected ? view.photos[view.typical] : null;
    const proposed = !decided && photo.waits ? photo.propose.decision : null;
    this.detail.replaceChildren(
      h("div", { class: "compare" },
        h("figure", { class: "main" }, picture(photo.large, shown(photo.photo)), h("figcaption", null, shown(photo.photo))),
        h("div", { class: "others" },
          typical && h("figure", null, picture(typical.large, `a typical photo of ${shown(view.person)}`), h("figcaption", null, "typical of ", h("bdi", null, shown(view.person)))),
          photo.suggested_picture && h("figure", null, picture(photo.suggested_picture, `a typical photo of ${shown(photo.suggested)}`), h("figcaption", null, "typical of ", h("bdi", null, shown(photo.suggested)))))),
      h("div", { class: "bars" },
        bar(view.person, photo.own_similarity, view.threshold, "genuine"),
        photo.suggested !== null && bar(photo.suggested, photo.suggested_similarity, view.threshold, "moved")),
      h("p", { class: "evidence" }, photo.evidence),
      h("p", { class: "was" }, "Cleaning: ", WAS[photo.was] ?? photo.was, decided && [". You: ", h("b", { class: VERDICTS[decided.decision] }, verdictText(decided))], "."),
      h("div", { class: "buttons" },
        this.#button("Keep", "k", proposed === "kept", () => this.actions.decide([selected], "kept", null)),
        this.#button("Move to…", "m", proposed === "moved", () => this.actions.move([selected])),
        this.#button("Drop", "d", proposed === "dropped", () => this.actions.decide([selected], "dropped", null))));
  }

  #button(text, key, proposed, onclick) {
    return h("button", { class: proposed ? "strong" : null, onclick, title: proposed ? "suggested" : null }, text, " ", h("kbd", null, key));
  }

  #paintFooter() {
    const kinds = this.waiting.map((slot) => this.view.photos[slot].propose.decision);
    const some = (kind, text) => (kinds.includes(kind) ? [`${text} ${kinds.filter((k) => k === kind).length}`] : []);
    const plan = [...some("moved", "move"), ...some("dropped", "drop"), ...some("kept", "keep")].join(", ");
    const text = kinds.length ? `Accept: ${plan}, and next` : "All decided: next case";
    this.footer.replaceChildren(
      h("button", { class: "strong", id: "accept", onclick: () => this.actions.accept() }, text, " ", h("kbd", null, "Enter")),
      h("span", { class: "soft" }, kinds.length ? `${count(kinds.length, "photo waits", "photos wait")} for a decision` : ""));
  }

  #charts() {
    const { view } = this;
    return h("div", { class: "charts" },
      h("figure", null, h("h2", null, "Similarity"), this.map.element, this.told),
      h("figure", null, h("h2", null, "Graph"), this.graph.element,
        h("figcaption", null, `An edge joins photos whose cosine is ${cosine(view.threshold)} or more. The kept component is green.${view.graph.bridges.length ? " Red: edges that are all that holds two groups together." : ""}`)));
  }

  #tell(cell) {
    const { photos, threshold } = this.view;
    const text = cell ? [h("b", null, cosine(cell[2])), ` ${shown(photos[cell[0]].photo)} – ${shown(photos[cell[1]].photo)}`] : [`Green: ${cosine(threshold)} or more. Point at a cell to see its photos.`];
    this.told.replaceChildren(...text);
  }
}

const WAS = { kept: "keep it", moved: "move it", review: "not sure", dropped: "drop it" };

const picture = (src, alt) => h("img", { src, alt, loading: "lazy", decoding: "async" });

function verdictText({ decision, to }) {
  return decision === "moved" ? `→ ${shown(to)}` : decision === "kept" ? "keep" : "drop";
}

function titleOf(group) {
  const many = (one, more) => (group.slots.length === 1 ? one : more);
  switch (group.kind) {
    case "kept": return `Kept component: ${count(group.slots.length, "photo", "photos")}`;
    case "other": return `Component ${group.component}: ${group.slots.length} photos`;
    case "alone": return `${group.slots.length} ${many("photo that stands alone", "photos that stand alone")}`;
    default: return `${group.slots.length} ${many("photo", "photos")} outside the graph`;
  }
}

function noteOf(group) {
  if (group.kind === "other") return "joined to each other, not to the kept ones: perhaps a second person";
  return group.kind === "unplaced" ? "fakes, or no face was found" : "";
}

/** A cosine on a line from 0 to 1, with the threshold. */
function bar(name, value, threshold, colour) {
  const filled = h("div", { class: `filled ${colour}` }), tick = h("div", { class: "tick" });
  filled.style.width = `${100 * Math.max(0, value ?? 0)}%`;
  tick.style.left = `${100 * Math.max(0, threshold)}%`;
  return h("div", { class: "measure" }, h("bdi", { class: "name", title: shown(name) }, shown(name)), h("div", { class: "line" }, filled, tick), h("span", { class: "value" }, cosine(value)));
}
