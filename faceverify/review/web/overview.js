// The list of cases, a page at a time.

class OverviewScreen {
  /** @param about of the store. @param store gives the rows. */
  constructor(about, store) {
    Object.assign(this, { about, store, offset: 0, chosen: 0, rows: [] });
    this.filter = h("input", { type: "search", placeholder: "Find a person", "aria-label": "Find a person", oninput: () => this.load(0) });
    this.open = h("input", { type: "checkbox", onchange: () => this.load(0) });
    this.list = h("div", { class: "rows", role: "listbox", "aria-label": "Cases" });
    this.pager = h("div", { class: "pager" });
    this.head = h("div", { class: "about" });
    this.element = h("div", { class: "overview" }, this.head,
      h("div", { class: "filters" }, this.filter, h("label", null, this.open, " only those that wait")), this.list, this.pager);
  }

  /** Shows the page of the list that begins at `offset`. */
  async load(offset) {
    const asked = (this.asked = {});
    const { total, rows } = await this.store.cases(offset, this.filter.value, this.open.checked);
    if (asked !== this.asked) return; // the reviewer has typed on
    Object.assign(this, { offset, rows, total, chosen: 0 });
    this.head.replaceChildren(...this.#head().filter(Boolean));
    this.list.replaceChildren(...rows.map((row, index) => this.#row(row, index)));
    if (!rows.length) this.list.append(h("p", { class: "soft" }, this.open.checked && !this.filter.value ? "Nothing waits: all cases are done." : "No case fits."));
    this.pager.replaceChildren(
      h("button", { disabled: offset === 0, onclick: () => this.load(Math.max(0, offset - 25)) }, "Back"),
      h("span", { class: "soft" }, total ? `${(offset + 1).toLocaleString("en")} to ${(offset + rows.length).toLocaleString("en")} of ${total.toLocaleString("en")}` : ""),
      h("button", { disabled: offset + rows.length >= total, onclick: () => this.load(offset + 25) }, "Further"));
    this.choose(Math.max(0, rows.findIndex((row) => row.decided < row.to_decide)));
  }

  choose(index) {
    if (!this.rows.length) return;
    this.chosen = Math.min(Math.max(index, 0), this.rows.length - 1);
    [...this.list.children].forEach((row, i) => row.setAttribute("aria-selected", String(i === this.chosen)));
    this.list.children[this.chosen].scrollIntoView({ block: "nearest" });
  }

  #head() {
    const { about } = this;
    const { cases, cases_done, photos } = about.progress;
    const end = about.file === null ? "Download the decisions and send the file back." : "End the review with Ctrl-C where it was started; it prints the command that applies the decisions.";
    const left = about.cases_of_table > cases ? `This file holds the ${count(cases, "hardest case", "hardest cases")} of ${about.cases_of_table.toLocaleString("en")}.` : "";
    return [h("h1", null, cases_done === cases ? "All people are done" : `${count(cases, "person", "people")} to look at`),
      cases_done === cases && h("p", null, h("b", null, end)),
      h("p", null, `Cleaning was not sure of ${count(photos, "photo", "photos")}. The hardest come first. `, left),
      h("p", { class: "soft" }, about.file === null
        ? "Decisions stay in this browser. Download them at the end and send the file back."
        : `Table ${about.table}. Every decision by ${about.reviewer} is saved at once in ${about.file}`)];
  }

  #row(row, index) {
    const done = row.decided === row.to_decide;
    return h("a", { class: `row${done ? " done" : ""}`, role: "option", href: `#case/${row.number}`, "aria-selected": "false", onmousemove: () => index !== this.chosen && this.choose(index) },
      h("span", { class: "rank" }, (row.number + 1).toLocaleString("en")),
      h("span", { class: "who" }, h("bdi", null, shown(row.person)), h("span", { class: "headline soft" }, row.headline)),
      h("span", { class: "strip" }, row.pictures.map((src) => picture(src, ""))),
      h("span", { class: "count" }, done ? "done" : `${row.decided} of ${row.to_decide}`));
  }
}
