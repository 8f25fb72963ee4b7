// Elements are built, never parsed: names of people and files reach the page as text alone.

const byId = (id) => document.getElementById(id);

/** An element; properties that are functions listen ({onclick}), the others are attributes; null leaves one out. */
function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
function s(tag, properties, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A name as it can be read: line ends and other control characters become visible. */
const shown = (name) => (name === "" ? "(no name)" : name.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, "↵"));

/** A cosine with two digits and a true minus sign. */
const cosine = (value) => (value === null ? "–" : (Math.round(value * 100) / 100 + 0).toFixed(2).replace("-", "−"));

const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
