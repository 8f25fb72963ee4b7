// Where cases come from and decisions go: the server, or this file and the browser's own storage. Both answer alike.

/** Decisions are sent one request after the other, in order; what could not be sent is kept and tried again. */
class ServerStore {
  mailed = false;

  constructor() {
    this.unsent = [];
    this.sending = null;
    this.onstate = () => {};
  }

  async open() {
    const about = await this.#ask("api/about");
    this.key = `faceverify-unsent:${about.digest}`;
    this.unsent = JSON.parse(sessionStorage.getItem(this.key) || "[]"); // of this tab, before it was reloaded
    if (this.unsent.length) this.#send();
    return about;
  }

  cases(offset, text, open) {
    return this.#ask(`api/cases?offset=${offset}&text=${encodeURIComponent(text)}&open=${open ? 1 : 0}`);
  }

  async case(number) {
    const onTheWay = [...this.unsent];
    const view = await this.#ask(`api/case/${number}`);
    for (const { case: other, slot, decision, to } of [...onTheWay, ...this.unsent]) {
      if (other === number) view.decided[slot] = decision && { decision, to };
    }
    return view;
  }

  people(text) {
    return this.#ask(`api/people?text=${encodeURIComponent(text)}`);
  }

  /** Saves changes [{case, slot, decision, to}] in the background. */
  decide(changes) {
    this.unsent.push(...changes);
    this.#keep();
    this.#send();
  }

  /** Resolves when nothing is on its way, or when sending has failed. */
  async settled() {
    while (this.sending) await this.sending;
  }

  get safe() {
    return this.unsent.length === 0;
  }

  #keep() {
    sessionStorage.setItem(this.key, JSON.stringify(this.unsent));
  }

  #send() {
    this.sending ??= this.#sendAll().finally(() => (this.sending = null));
  }

  async #sendAll() {
    clearTimeout(this.again);
    while (this.unsent.length) {
      this.onstate({ saving: true });
      const part = this.unsent.slice(0, 500);
      try {
        const progress = await this.#ask("api/decide", { decisions: part });
        this.unsent.splice(0, part.length);
        this.#keep();
        this.onstate({ progress, saved: this.safe });
      } catch (error) {
        this.onstate({ trouble: `${error.message} ${count(this.unsent.length, "decision waits", "decisions wait")} in this page and will be sent again.` });
        this.again = setTimeout(() => this.#send(), 3000);
        return;
      }
    }
  }

  async #ask(address, body) {
    const how = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    let answer;
    try {
      answer = await fetch(address, how);
    } catch {
      throw new Error("The review does not answer; was it ended? Start it again.");
    }
    if (answer.ok) return answer.json();
    if (answer.status === 403) throw new Error("The review was started anew; open the address that it printed, in this tab.");
    const told = await answer.json().catch(() => ({ error: `The review answered ${answer.status}.` }));
    throw new Error(told.error);
  }
}

/** All cases are in the file; decisions stay in this browser until they are downloaded. */
class FileStore {
  mailed = true;
  safe = true;

  constructor(embedded) {
    this.embedded = embedded;
    this.decided = new Map(); // photo -> {photo, person, decision, to, at}
    this.onstate = () => {};
    for (const { row, view } of embedded.cases) {
      row.pictures = row.pictures.map((number) => embedded.pictures[number]);
      for (const photo of view.photos) {
        for (const name of ["small", "large", "suggested_picture"]) {
          if (photo[name] !== null) photo[name] = embedded.pictures[photo[name]];
        }
      }
    }
  }

  async open() {
    this.key = `faceverify-decisions:${this.embedded.about.digest}`;
    try {
      for (const one of JSON.parse(localStorage.getItem(this.key) || "[]")) this.decided.set(one.photo, one);
      this.reviewer = localStorage.getItem(`${this.key}:reviewer`) || "";
    } catch {
      this.onstate({ trouble: "This browser keeps nothing for this page: download the decisions before you close it." });
      this.reviewer = "";
    }
    return { ...this.embedded.about, reviewer: this.reviewer, file: null, progress: this.#progress() };
  }

  async cases(offset, text, open) {
    const wanted = text.toLowerCase();
    const found = this.embedded.cases
      .filter(({ row }, number) => row.person.toLowerCase().includes(wanted) && !(open && this.#done(number)))
      .map(({ row }) => ({ ...row, decided: this.#decided(row.number) }));
    return { total: found.length, rows: found.slice(offset, offset + 25) };
  }

  async case(number) {
    const { view } = this.embedded.cases[number];
    const total = this.embedded.cases.length;
    const after = Array.from({ length: total - 1 }, (_, step) => (number + step + 1) % total);
    const decided = view.photos.map(({ photo }) => this.decided.get(photo) ?? null);
    return { ...view, number, decided, next_open: after.find((other) => !this.#done(other)) ?? null };
  }

  async people(text) {
    const wanted = text.trim().toLowerCase();
    const rank = (name) => (name === wanted ? 0 : name.startsWith(wanted) ? 1 : 2);
    const found = this.embedded.people.filter((name) => name.toLowerCase().includes(wanted));
    return found.sort((a, b) => rank(a.toLowerCase()) - rank(b.toLowerCase())).slice(0, 8);
  }

  decide(changes) {
    const at = now();
    for (const { case: number, slot, decision, to } of changes) {
      const { person, photos } = this.embedded.cases[number].view;
      const { photo } = photos[slot];
      this.decided.delete(photo); // the file is in the order of the decisions
      if (decision !== null) this.decided.set(photo, { photo, person, decision, to: to ?? null, at });
    }
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.decided.values()]));
      this.onstate({ progress: this.#progress(), saved: true });
    } catch {
      this.safe = false;
      this.onstate({ progress: this.#progress(), trouble: "This browser keeps nothing for this page: download the decisions before you close it." });
    }
  }

  async settled() {}

  /** The decisions file, as `clean --decisions` reads it. */
  download(reviewer) {
    this.safe = true;
    localStorage.setItem(`${this.key}:reviewer`, reviewer);
    const decisions = [...this.decided.values()];
    const content = { format: "faceverify-decisions-1", reviewer, table: this.embedded.about.digest, saved: now(), decisions };
    return new Blob([JSON.stringify(content, null, 1), "\n"], { type: "application/json" });
  }

  #waiting(number) {
    return this.embedded.cases[number].view.photos.filter((photo) => photo.waits);
  }

  #decided(number) {
    return this.#waiting(number).filter(({ photo }) => this.decided.has(photo)).length;
  }

  #done(number) {
    return this.#decided(number) === this.#waiting(number).length;
  }

  #progress() {
    const numbers = this.embedded.cases.map((_, number) => number);
    const sum = (what) => numbers.reduce((total, number) => total + what(number), 0);
    return {
      cases: numbers.length,
      cases_done: numbers.filter((number) => this.#done(number)).length,
      photos: sum((number) => this.#waiting(number).length),
      photos_decided: sum((number) => this.#decided(number)),
    };
  }
}

const now = () => new Date().toISOString().replace(/\.\d+Z$/, "+00:00");
