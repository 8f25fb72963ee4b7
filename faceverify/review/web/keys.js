// Which key does what; the help is made of the same table.

/** [keys as the browser calls them, what the help shows, what it does, action's name] by screen. */
const KEYS = {
  case: [
    [["k", "1"], "k 1", "Keep the photo", "keep"],
    [["m", "2"], "m 2", "Move it to another person: Enter takes the suggestion, or type a name", "move"],
    [["d", "3"], "d 3", "Drop it", "drop"],
    [["s"], "s", "Do what is suggested for this photo", "suggested"],
    [["x", "Backspace"], "x", "Take the decision back", "withdraw"],
    [["K", "M", "D"], "Shift + k m d", "The same for its whole component", "component"],
    [["Enter"], "Enter", "Accept all suggestions of this person, and go to the next who waits", "accept"],
    [["ArrowRight", "j"], "→ j", "Next photo", "right"],
    [["ArrowLeft", "h"], "← h", "Previous photo", "left"],
    [["ArrowDown"], "↓", "Photo below", "down"],
    [["ArrowUp"], "↑", "Photo above", "up"],
    [["n"], "n", "Next person", "next"],
    [["p"], "p", "Previous person", "previous"],
    [["u"], "u", "Undo, step by step", "undo"],
    [["Escape", "o"], "Esc o", "To the list", "overview"],
    [["?"], "?", "This help", "help"],
  ],
  overview: [
    [["ArrowDown", "j"], "↓ j", "Down", "down"],
    [["ArrowUp"], "↑", "Up", "up"],
    [["ArrowRight", "n"], "→ n", "Next page", "right"],
    [["ArrowLeft", "p"], "← p", "Previous page", "left"],
    [["Enter"], "Enter", "Open the person", "accept"],
    [["/"], "/", "Find a person", "find"],
    [["u"], "u", "Undo, step by step", "undo"],
    [["?"], "?", "This help", "help"],
  ],
};

/** The action that an event asks for on a screen, or undefined. */
function actionOf(event, screen) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return undefined;
  const typing = event.target.matches?.("input");
  if (typing && !(event.key === "Escape" || event.key === "Enter" || event.key === "ArrowDown")) return undefined;
  if (event.key === "Enter" && event.target.matches?.("button, a:not(.row)")) return undefined; // it is pressed itself
  return KEYS[screen].find(([keys]) => keys.includes(event.key))?.[3];
}

function showHelp(screen) {
  const rows = KEYS[screen].map(([, keys, text]) => h("tr", null, h("th", { scope: "row" }, keys.split(" ").map((key) => (key === "+" ? " + " : h("kbd", null, key)))), h("td", null, text)));
  const help = byId("help");
  help.replaceChildren(h("h2", null, "Keys"), h("table", null, h("tbody", null, rows)), h("form", { method: "dialog" }, h("button", null, "Close ", h("kbd", null, "Esc"))));
  help.showModal();
}

/**
 * Asks for a person.
 * @param first names offered before anything is typed, the suggestion first. @param search (text) -> promise of names.
 * @returns promise of a name, or null
 */
function askPerson(first, search) {
  const dialog = h("dialog", { id: "move", "aria-label": "Move to" }); // a new one: the last one's closing is told late
  let offers = [], chosen = 0;
  const list = h("div", { class: "offers", role: "listbox", id: "offers" });
  const input = h("input", { placeholder: "Name", "aria-label": "Move to whom", "aria-controls": "offers", autocomplete: "off", spellcheck: "false" });
  const choose = (index) => {
    chosen = Math.min(Math.max(index, 0), offers.length - 1);
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === chosen)));
  };
  const offer = (next) => {
    offers = next;
    list.replaceChildren(...offers.map(({ name, note }, index) => h("div", { role: "option", onclick: () => finish(index) }, h("bdi", null, shown(name)), " ", h("span", { class: "soft" }, note))));
    choose(0);
  };
  const suggest = async () => {
    const text = input.value;
    if (!text.trim()) return offer(first);
    const found = await search(text);
    if (input.value !== text) return undefined;
    const fresh = found.includes(text.trim()) ? [] : [{ name: text.trim(), note: "a new person" }];
    return offer([...found.map((name) => ({ name, note: "" })), ...fresh]);
  };
  let finish;
  const answer = new Promise((resolve) => {
    finish = (index) => {
      resolve(offers[index]?.name ?? null);
      dialog.remove();
    };
    dialog.addEventListener("close", () => finish(-1)); // Escape
  });
  let pending = Promise.resolve();
  input.addEventListener("input", () => (pending = suggest()));
  input.addEventListener("keydown", async (event) => {
    event.stopPropagation(); // the dialog may be closed before the page hears of this key
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key !== "Enter") return;
    event.preventDefault();
    if (event.key === "Enter") {
      await pending; // the list must belong to what was typed
      finish(chosen);
    }
  });
  dialog.append(h("h2", null, "Move to"), input, list);
  document.body.append(dialog);
  offer(first);
  dialog.showModal();
  input.focus();
  return answer;
}
