// Puts the parts together: which screen is shown, what the keys do, undo, what is saved.

class Review {
  constructor(store) {
    this.store = store;
    this.undos = []; // each: {case, entries: [{slot, decision, to}]} as it was before
    this.recent = []; // to whom photos were moved in this tab
    store.onstate = (state) => this.#state(state);
  }

  async start() {
    this.about = await this.store.open();
    this.#progress(this.about.progress);
    document.title = "Review";
    byId("undo").onclick = () => this.act("undo");
    byId("keys").onclick = () => this.act("help");
    if (this.store.mailed) this.#mail();
    addEventListener("popstate", () => this.#guarded(() => this.route()));
    addEventListener("click", (event) => event.detail && event.target.closest?.("button")?.blur()); // Enter is a key of ours
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => this.store.safe || event.preventDefault());
    await this.#guarded(() => this.route());
  }

  /** Shows what the address names: a case, or the list. */
  async route(slot) {
    const wanted = location.hash.match(/^#case\/(\d+)$/);
    if (wanted) await this.#showCase(Math.min(Number(wanted[1]), this.about.progress.cases - 1), slot);
    else await this.#showOverview();
  }

  /** Does what a key or button asks for. While a screen loads nothing is done: nobody decides on what is not yet seen. */
  async act(name, event) {
    if (this.busy) return;
    const on = this.screen === "case" ? this.caseActions : this.overviewActions;
    await this.#guarded(() => ({ ...this.commonActions, ...on })[name]?.(event));
  }

  async #guarded(work) {
    this.busy = true;
    try {
      await work();
    } catch (error) {
      this.#state({ trouble: error.message });
    } finally {
      this.busy = false;
    }
  }

  commonActions = {
    help: () => showHelp(this.screen),
    undo: () => this.#undo(),
    overview: () => this.#go(null),
  };

  overviewActions = {
    down: () => this.list.choose(this.list.chosen + (document.activeElement === this.list.filter ? 0 : 1)) ?? this.list.filter.blur(),
    up: () => this.list.choose(this.list.chosen - 1),
    right: () => this.list.offset + 25 < this.list.total && this.list.load(this.list.offset + 25),
    left: () => this.list.offset && this.list.load(this.list.offset - 25),
    accept: () => this.list.rows.length && this.#go(this.list.rows[this.list.chosen].number),
    find: (event) => (event.preventDefault(), this.list.filter.focus()),
  };

  caseActions = {
    keep: () => this.decide([this.shown.selected], "kept", null),
    drop: () => this.decide([this.shown.selected], "dropped", null),
    move: () => this.move([this.shown.selected]),
    suggested: () => this.#propose([this.shown.selected]),
    withdraw: () => this.decide([this.shown.selected], null, null, false),
    component: (event) => {
      const slots = this.shown.component();
      return event.key === "M" ? this.move(slots) : this.decide(slots, event.key === "K" ? "kept" : "dropped", null);
    },
    accept: () => this.#accept(),
    right: () => this.shown.step(1),
    left: () => this.shown.step(-1),
    down: () => this.shown.stepRow(1),
    up: () => this.shown.stepRow(-1),
    next: () => this.#go(Math.min(this.shown.view.number + 1, this.about.progress.cases - 1)),
    previous: () => this.#go(Math.max(this.shown.view.number - 1, 0)),
  };

  /** One decision for some photos of the case on the screen; null takes theirs back. */
  decide(slots, decision, to, advance = true) {
    this.#apply(slots.map((slot) => ({ slot, decision, to })), advance);
  }

  async move(slots) {
    const { view } = this.shown;
    const near = [...slots, ...view.photos.keys()].map((slot) => view.photos[slot].suggested).filter((name) => name !== null);
    const names = [...new Set([...near, ...this.recent])].filter((name) => name !== view.person).slice(0, 8);
    const suggested = view.photos[slots[0]].suggested;
    const to = await askPerson(names.map((name) => ({ name, note: name === suggested ? "suggested" : "" })), (text) => this.store.people(text));
    if (to === null || this.shown?.view !== view) return;
    this.recent = [to, ...this.recent.filter((name) => name !== to)];
    this.decide(slots, to === view.person ? "kept" : "moved", to === view.person ? null : to);
  }

  #propose(slots) {
    this.#apply(slots.map((slot) => ({ slot, ...this.shown.view.photos[slot].propose })), true);
  }

  #apply(entries, advance) {
    const { view } = this.shown;
    const before = entries.map(({ slot }) => ({ slot, ...(view.decided[slot] ?? { decision: null, to: null }) }));
    this.undos.push({ case: view.number, entries: before });
    this.#write(view.number, entries);
    const next = this.shown.nextWaiting(entries.at(-1)?.slot);
    if (advance && next !== undefined) this.shown.select(next);
  }

  /** Saves decisions and, if their case is on the screen, shows them. */
  #write(number, entries) {
    this.store.decide(entries.map(({ slot, decision, to }) => ({ case: number, slot, decision, to })));
    if (this.shown?.view.number !== number) return;
    for (const { slot, decision, to } of entries) this.shown.view.decided[slot] = decision && { decision, to };
    this.shown.show(entries.map(({ slot }) => slot));
  }

  async #undo() {
    const last = this.undos.pop();
    if (!last) return;
    this.#write(last.case, last.entries);
    if (this.shown?.view.number === last.case) {
      this.shown.select(last.entries[0].slot);
      return;
    }
    await this.store.settled();
    await this.#go(last.case, last.entries[0].slot);
  }

  async #accept() {
    const { view, waiting } = this.shown;
    if (waiting.length) this.#propose(waiting);
    if (view.next_open > view.number) return this.#go(view.next_open);
    await this.store.settled(); // from the last case back to the first that waits: the answer must know what was decided
    return this.#go((await this.store.case(view.number)).next_open);
  }

  /** To a case, or to the list (null). */
  async #go(number, slot) {
    history.pushState(null, "", number === null ? "#" : `#case/${number}`);
    await this.route(slot);
  }

  async #showCase(number, slot) {
    const view = await this.store.case(number);
    const actions = { decide: (...what) => this.decide(...what), move: (slots) => this.move(slots), accept: () => this.act("accept") };
    this.shown = new CaseScreen(view, actions);
    this.#screen("case", this.shown.element, h("span", null, `${(number + 1).toLocaleString("en")} of ${this.about.progress.cases.toLocaleString("en")}`));
    if (slot !== undefined) this.shown.select(slot);
    this.#warm(view.next_open);
  }

  async #showOverview() {
    this.shown = null;
    this.list ??= new OverviewScreen(this.about, this.store);
    this.#screen("overview", this.list.element);
    await this.list.load(this.list.offset);
  }

  #screen(name, element, ...where) {
    this.screen = name;
    byId("where").replaceChildren(...where);
    byId("screen").replaceChildren(element);
    scrollTo(0, 0);
  }

  /** Fetches the pictures of the case that comes next while the reviewer looks at this one. */
  async #warm(number) {
    if (number === null || this.store.mailed) return;
    const { photos } = await this.store.case(number).catch(() => ({ photos: [] }));
    for (const { small, suggested_picture } of photos) for (const src of [small, suggested_picture]) if (src) new Image().src = src;
  }

  #key(event) {
    const name = actionOf(event, this.screen);
    if (!name || (event.repeat && !["left", "right", "up", "down"].includes(name))) return;
    event.preventDefault();
    this.act(name, event);
  }

  #state({ progress, saving, saved, trouble }) {
    if (progress) this.#progress(progress);
    byId("trouble").hidden = !trouble && !saved;
    if (trouble) byId("trouble").textContent = trouble;
    if (saved) byId("trouble").hidden = true;
    byId("saved").textContent = trouble ? "not saved" : saving ? "saving…" : saved ? (this.store.mailed ? "kept in this browser" : "saved") : "";
  }

  #progress(progress) {
    if (this.about) this.about.progress = progress;
    byId("progress").textContent = `${progress.cases_done.toLocaleString("en")} of ${count(progress.cases, "case", "cases")} done · ${progress.photos_decided.toLocaleString("en")} of ${count(progress.photos, "photo", "photos")} decided`;
    byId("track").style.width = `${(100 * progress.photos_decided) / Math.max(1, progress.photos)}%`;
  }

  #mail() {
    byId("mail").hidden = false;
    byId("reviewer").value = this.about.reviewer;
    byId("download").onclick = () => {
      const name = byId("reviewer").value.trim();
      if (!name) {
        byId("reviewer").focus();
        this.#state({ trouble: "Write your name first; it stands in the decisions file." });
        return;
      }
      const address = URL.createObjectURL(this.store.download(name));
      h("a", { href: address, download: `review_${name.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      this.#state({ saved: true });
    };
  }
}

const embedded = byId("embedded");
if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token is in the cookie now
new Review(embedded ? new FileStore(JSON.parse(embedded.textContent)) : new ServerStore()).start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = error.message;
});
